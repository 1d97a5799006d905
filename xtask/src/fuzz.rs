//! Builds the fuzzing engine, lets it run over the targets with a budget of CPU time, and says in a table what came of it.
//!
//! ```text
//! fuzz/corpus/NAME.pack + seeds --unpack--> target/fuzz/work/NAME/corpus --run--> more inputs, finds
//!           ^------------------pack (--keep) <-- target/fuzz/work/NAME/least <--merge--/
//! ```
//!
//! CPU time, because the engine may run where others work: `chrt -i 0 cargo xtask fuzz` takes only what is left over.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, bail};

/// Coverage without a sanitizer, which the stable compiler can do: there is no unsafe code that one could look at.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
                     -Cllvm-args=-sanitizer-coverage-trace-compares";
/// Faults put in on purpose must be found within this, in CPU seconds.
const PROOF_SECONDS: u64 = 120;
/// Longest input.
const INPUT_BYTES_MAX: u32 = 8192;
/// Stack of the engine in KiB: that of the server's threads.
const STACK_KIB: u32 = 2048;
/// Plain bytes of a kept corpus.
const KEPT_BYTES_MAX: u32 = 96 << 10;

/// `[--seconds N] [--jobs N] [--keep] [--prove] [TARGET…]`: N CPU seconds over all targets (60 if not said), all targets if none is
/// named. `--keep` replaces the kept corpora by the least that covers what was found; `--prove` runs over planted faults instead.
pub(crate) fn run(args: &[String]) -> anyhow::Result<()> {
    let mut plan = Plan { seconds: 60, jobs: 1, keep: false, prove: false, targets: Vec::new() };
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let mut number = || -> anyhow::Result<u64> {
            let text = rest.next().with_context(|| format!("{arg}: a number is missing"))?;
            text.parse().with_context(|| format!("{arg} {text}"))
        };
        match arg.as_str() {
            "--seconds" => plan.seconds = number()?,
            "--jobs" => plan.jobs = number()?.max(1),
            "--keep" => plan.keep = true,
            "--prove" => plan.prove = true,
            flag if flag.starts_with("--") => bail!("{flag}: known are --seconds, --jobs, --keep, --prove"),
            name => plan.targets.push(name.to_owned()),
        }
    }
    let engine = Engine::build()?;
    if plan.prove { prove(&engine) } else { fuzz(&engine, plan) }
}

struct Plan {
    seconds: u64,
    jobs: u64,
    keep: bool,
    prove: bool,
    targets: Vec<String>,
}

/// What came of one target.
struct Row {
    name: String,
    runs: u64,
    cpu_ms: u64,
    edges: u64,
    inputs: u64,
    kept: Option<u64>,
    find: Option<PathBuf>,
}

fn fuzz(engine: &Engine, plan: Plan) -> anyhow::Result<()> {
    let names = if plan.targets.is_empty() { engine.targets()? } else { plan.targets };
    let share = (plan.seconds / names.len().max(1) as u64).max(1);
    let queue = Mutex::new(names.into_iter().collect::<VecDeque<String>>());
    let rows = Mutex::new(Vec::new());
    let work = || -> anyhow::Result<()> {
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(name) = next else { return Ok(()) };
            let row = engine.fuzz(&name, share, plan.keep)?;
            println!("{}", line(&row));
            rows.lock().unwrap_or_else(PoisonError::into_inner).push(row);
        }
    };
    println!(
        "{:<12} {:>11} {:>8} {:>7} {:>7} {:>7}  finds",
        "target", "runs", "cpu s", "edges", "inputs", "kept"
    );
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..plan.jobs).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|w| w.join().expect("a worker only runs commands"))
    })?;
    let rows = rows.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (runs, ms) = (rows.iter().map(|r| r.runs).sum::<u64>(), rows.iter().map(|r| r.cpu_ms).sum::<u64>());
    let finds = rows.iter().filter(|r| r.find.is_some()).count();
    println!("{:<12} {runs:>11} {:>8.1} {:>7} {:>7} {:>7}  {finds}", "all", ms as f64 / 1e3, "", "", "");
    if finds > 0 { bail!("{finds} finds") } else { Ok(()) }
}

fn line(row: &Row) -> String {
    let find = row.find.as_ref().map_or_else(|| "-".to_owned(), |f| f.display().to_string());
    let kept = row.kept.map_or_else(|| "-".to_owned(), |k| k.to_string());
    let (name, seconds) = (&row.name, row.cpu_ms as f64 / 1e3);
    format!("{name:<12} {:>11} {seconds:>8.1} {:>7} {:>7} {kept:>7}  {find}", row.runs, row.edges, row.inputs)
}

/// The engine is silent about good code; here it must not be.
fn prove(engine: &Engine) -> anyhow::Result<()> {
    let planted = ["planted-panic", "planted-overflow", "planted-time", "planted-memory", "planted-unstable"];
    for name in planted {
        let row = engine.fuzz(name, PROOF_SECONDS, false)?;
        match row.find {
            Some(input) => println!("{name}: found, {}", input.display()),
            None => bail!("{name}: not found within {PROOF_SECONDS} CPU seconds and {} runs", row.runs),
        }
    }
    Ok(())
}

struct Engine {
    program: PathBuf,
    /// Where corpora grow and finds are left.
    work: PathBuf,
}

impl Engine {
    fn build() -> anyhow::Result<Engine> {
        let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned());
        let folder = std::path::absolute(Path::new(&target).join("fuzz"))?;
        let host = host()?;
        // With a named target, build scripts and macros are compiled without the flags.
        let status = Command::new("cargo")
            .args([
                "build",
                "--quiet",
                "--release",
                "--manifest-path",
                "fuzz/engine/Cargo.toml",
                "--target",
                &host,
            ])
            .env("CARGO_TARGET_DIR", &folder)
            .env("RUSTFLAGS", FLAGS)
            .status()
            .context("start cargo")?;
        if !status.success() {
            bail!("the engine does not build: see above");
        }
        Ok(Engine { program: folder.join(host).join("release/fuzz-engine"), work: folder.join("work") })
    }

    fn targets(&self) -> anyhow::Result<Vec<String>> {
        let out = self.step("list", "", &[])?;
        Ok(String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned).collect())
    }

    /// Does one of the steps around a run.
    fn step(&self, step: &str, target: &str, more: &[(&str, String)]) -> anyhow::Result<Output> {
        let mut command = Command::new(&self.program);
        command.env("FUZZ_STEP", step).env("FUZZ_TARGET", target).envs(more.iter().map(|(k, v)| (*k, v)));
        let out = command.output().context("start the engine")?;
        if !out.status.success() {
            bail!("{step} {target}: {}", String::from_utf8_lossy(&out.stderr));
        }
        Ok(out)
    }

    fn fuzz(&self, name: &str, seconds: u64, keep: bool) -> anyhow::Result<Row> {
        let home = self.work.join(name);
        let (corpus, words) = (home.join("corpus"), home.join("words"));
        std::fs::create_dir_all(&home)?;
        let shown = |p: &Path| p.display().to_string();
        self.step("unpack", name, &[("FUZZ_FOLDER", shown(&corpus)), ("FUZZ_WORDS", shown(&words))])?;
        let told = self.libfuzzer(
            name,
            seconds,
            &[
                format!("-max_len={INPUT_BYTES_MAX}"),
                format!("-dict={}", shown(&words)),
                format!("-artifact_prefix={}/", shown(&home)),
                "-timeout=300".to_owned(),
                "-rss_limit_mb=2048".to_owned(),
                "-print_final_stats=1".to_owned(),
                "-reload=0".to_owned(),
                shown(&corpus),
            ],
        )?;
        std::fs::write(home.join("log"), &told)?;
        if !told.contains("stat::") {
            bail!("{name}: the engine did not run: {}", told.lines().last().unwrap_or_default());
        }
        let kept = if keep { Some(self.keep(name, &home)?) } else { None };
        let after = |word: &str| told.rsplit(word).next().filter(|_| told.contains(word)).map(leading);
        Ok(Row {
            name: name.to_owned(),
            runs: after("stat::number_of_executed_units:").unwrap_or_default(),
            cpu_ms: after("cpu_ms:").unwrap_or_default(),
            edges: after(" cov:").unwrap_or_default(),
            inputs: after(" corp:").unwrap_or_default(),
            find: told
                .split("Test unit written to ")
                .nth(1)
                .and_then(|r| r.lines().next())
                .map(PathBuf::from),
            kept,
        })
    }

    /// Keeps the least inputs that cover what the corpus covers.
    fn keep(&self, name: &str, home: &Path) -> anyhow::Result<u64> {
        let least = home.join("least");
        let _ = std::fs::remove_dir_all(&least);
        std::fs::create_dir_all(&least)?;
        let shown = |p: PathBuf| p.display().to_string();
        self.libfuzzer(
            name,
            u64::MAX,
            &["-merge=1".to_owned(), shown(least.clone()), shown(home.join("corpus"))],
        )?;
        let most = KEPT_BYTES_MAX.to_string();
        let out = self.step("pack", name, &[("FUZZ_FOLDER", shown(least)), ("FUZZ_BYTES", most)])?;
        Ok(leading(&String::from_utf8_lossy(&out.stdout)))
    }

    /// Runs libFuzzer; what it says. A find is no error here.
    fn libfuzzer(&self, name: &str, seconds: u64, args: &[String]) -> anyhow::Result<String> {
        let out = Command::new("sh")
            .args(["-c", &format!("ulimit -s {STACK_KIB}; exec \"$@\""), "sh"])
            .arg(&self.program)
            .args(args)
            .env("FUZZ_TARGET", name)
            .env("FUZZ_CPU_SECONDS", seconds.to_string())
            .output()
            .context("start the engine")?;
        Ok(String::from_utf8_lossy(&out.stderr).into_owned())
    }
}

/// The number at the start of a text.
fn leading(text: &str) -> u64 {
    let digits: String = text.trim_start().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_default()
}

fn host() -> anyhow::Result<String> {
    let out = Command::new("rustc").arg("-vV").output().context("start rustc")?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let host = text.lines().find_map(|l| l.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc does not tell its host")
}
