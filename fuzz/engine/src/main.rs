//! libFuzzer over one target, named by `FUZZ_TARGET`; `FUZZ_STEP` does what is needed around a run instead.
//!
//! | step | does |
//! |---|---|
//! | `list` | names of the targets, one a line |
//! | `unpack` | kept corpus and seeds as files in `FUZZ_FOLDER`, the words as a dictionary in `FUZZ_WORDS` |
//! | `pack` | the files of `FUZZ_FOLDER` as the kept corpus, the shortest first, up to `FUZZ_BYTES` |
//! | (none) | fuzz, for `FUZZ_CPU_SECONDS` |
//!
//! Each input has a second of CPU time, and memory in proportion to its length. One input in some hundreds is also tried
//! stretched: a piece of it repeated to a great length, which is where loops in loops show.

#![no_main]

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fuzz::{Target, pack};
use libfuzzer_sys::fuzz_target;
use peak_alloc::PeakAlloc;
use rustix::time::{ClockId, clock_gettime};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// CPU time of one input.
const TIME_MAX: Duration = Duration::from_secs(1);
/// Memory of one input: this much, and so many bytes for each of its own.
const MEMORY_BASE: usize = 32 << 20;
const MEMORY_PER_BYTE: usize = 4096;
/// Length of a stretched input.
const STRETCHED: usize = 128 << 10;
/// One input in so many is stretched.
const STRETCH_EVERY: u64 = 512;

static RUNS: AtomicU64 = AtomicU64::new(0);

fuzz_target!(init: prepare(), |data: &[u8]| {
    let target = target();
    bounded(target, data);
    if let Some(long) = stretched(data) {
        bounded(target, &long);
    }
    if RUNS.fetch_add(1, Ordering::Relaxed).is_multiple_of(64) && cpu_time() > share() {
        eprintln!("cpu_ms: {}", cpu_time().as_millis());
        // libFuzzer ends in order on this signal, with its statistics.
        let own = rustix::process::getpid();
        rustix::process::kill_process(own, rustix::process::Signal::USR1).expect("a process may signal itself");
    }
});

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

fn target() -> &'static Target {
    static TARGET: std::sync::OnceLock<Target> = std::sync::OnceLock::new();
    TARGET.get_or_init(|| {
        let name = variable("FUZZ_TARGET");
        fuzz::find(&name).unwrap_or_else(|| panic!("FUZZ_TARGET={name:?} is no target; FUZZ_STEP=list names them"))
    })
}

fn share() -> Duration {
    static SHARE: std::sync::OnceLock<Duration> = std::sync::OnceLock::new();
    *SHARE.get_or_init(|| Duration::from_secs(variable("FUZZ_CPU_SECONDS").parse().unwrap_or(u64::MAX)))
}

fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32)
}

fn bounded(target: &Target, data: &[u8]) {
    let (before, held) = (cpu_time(), MEMORY.current_usage());
    MEMORY.reset_peak_usage();
    (target.run)(data);
    let (took, more) = (cpu_time().saturating_sub(before), MEMORY.peak_usage().saturating_sub(held));
    assert!(took <= TIME_MAX, "{} bytes took {took:?} of CPU time", data.len());
    let most = MEMORY_BASE + MEMORY_PER_BYTE * data.len();
    assert!(more <= most, "{} bytes took {more} bytes of memory, at most {most} expected", data.len());
}

/// An input with a piece of it repeated; whether and which, its own bytes say, so that a find can be repeated.
fn stretched(data: &[u8]) -> Option<Vec<u8>> {
    let sum = data.iter().fold(0xcbf2_9ce4_8422_2325, |sum: u64, b| (sum ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3));
    let sum = sum ^ (sum >> 29);
    if data.is_empty() || !sum.is_multiple_of(STRETCH_EVERY) {
        return None;
    }
    let at = |shift: u32| (sum >> shift) as usize % data.len();
    // Mostly short pieces: a bracket, an escape, a clause.
    let start = at(16);
    let end = (start + 1 + at(32) % (1 << (1 + at(48) % 6))).min(data.len());
    let piece = &data[start..end];
    let mut out = data[..start].to_vec();
    while out.len() < STRETCHED {
        out.extend_from_slice(piece);
    }
    out.extend_from_slice(&data[end..]);
    Some(out)
}

/// Does a step around a run, and ends; or only looks whether there is a target.
fn prepare() {
    let done = match variable("FUZZ_STEP").as_str() {
        "list" => list(),
        "unpack" => unpack(),
        "pack" => pack(),
        _ => {
            target();
            return;
        }
    };
    std::process::exit(i32::from(done.map_err(|e| eprintln!("fuzz: {e}")).is_err()));
}

fn list() -> std::io::Result<()> {
    fuzz::targets().iter().for_each(|t| println!("{}", t.name));
    Ok(())
}

/// Where kept corpora are.
fn corpora() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../corpus")
}

fn unpack() -> std::io::Result<()> {
    let (target, folder) = (target(), PathBuf::from(variable("FUZZ_FOLDER")));
    std::fs::create_dir_all(&folder)?;
    let kept = pack::read(&corpora(), target.name).map_err(|_| std::io::Error::other("the kept corpus is damaged"))?;
    for (i, input) in (target.seeds)().iter().chain(&kept).enumerate() {
        std::fs::write(folder.join(format!("kept-{i:05}")), input)?;
    }
    let words: String = target.words.iter().map(|w| format!("{}\n", quoted(w))).collect();
    std::fs::write(variable("FUZZ_WORDS"), words)
}

/// A word as libFuzzer's dictionaries have it.
fn quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_graphic() && b != b'"' && b != b'\\' || b == b' ';
    let escaped: String =
        word.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("\\x{b:02x}") }).collect();
    format!("\"{escaped}\"")
}

fn pack() -> std::io::Result<()> {
    let target = target();
    let mut inputs = Vec::new();
    for entry in std::fs::read_dir(variable("FUZZ_FOLDER"))? {
        inputs.push(std::fs::read(entry?.path())?);
    }
    inputs.sort_by(|a, b| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
    let mut room: usize = variable("FUZZ_BYTES").parse().unwrap_or(100 << 10);
    let seeds = (target.seeds)();
    inputs.retain(|input| !seeds.contains(input));
    let kept: Vec<Vec<u8>> = inputs
        .into_iter()
        .take_while(|input| {
            let fits = room >= input.len();
            room = room.saturating_sub(input.len());
            fits
        })
        .collect();
    println!("{}", kept.len());
    std::fs::write(corpora().join(format!("{}.pack", target.name)), pack::pack(&kept))
}
