//! The shim: a small process per container that is its parent, keeps its log and writes down how it ended.
//!
//! Three stages of the same binary, so that no code runs between fork and exec:
//! `start` leaves the agent's process group, spawns `run` and ends, so that `run` belongs to nobody; `run` takes a session
//! of its own and becomes the parent; `exec` prepares itself and becomes the container. When `run` is killed, the kernel
//! kills the container (PDEATHSIG), because nobody could write down its end any more.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Resource, Rlimit, Signal, WaitOptions};

use crate::log::LogWriter;
use crate::procfs;
use crate::records::{self, ExitRecord, InstanceConfig, InstanceDir, StartRecord, StopRecord, now};

/// Time between looks at whether the directory is still there.
const WATCH: Duration = Duration::from_secs(1);
/// Longest wait for the log's last lines after the container has ended.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Open files a container may have.
const FILES_MAX: u64 = 65_536;
/// What a container that could not be started ends with, as containerd says it.
const START_ERROR: i32 = 128;

/// The hidden verb `shim STAGE DIR …`; `args` are those after the verb. Call it before any runtime or thread is started.
pub fn shim_main(args: impl IntoIterator<Item = String>) -> ExitCode {
    let args: Vec<String> = args.into_iter().collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["start", dir] => start(&InstanceDir(dir.into())),
        ["run", dir] => run(&InstanceDir(dir.into())),
        ["exec", dir, parent] => exec(&InstanceDir(dir.into()), parent),
        _ => Err(io::Error::other("shim: this verb is for the node agent only")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error goes to the container's log, or nowhere.
            use std::io::Write as _;
            let _ = writeln!(io::stderr(), "shim: {error}");
            ExitCode::FAILURE
        }
    }
}

fn config(dir: &InstanceDir) -> io::Result<InstanceConfig> {
    records::read(&dir.config())?.ok_or_else(|| io::Error::other("no config.json"))
}

fn again(config: &InstanceConfig, stage: &str, dir: &InstanceDir) -> Command {
    let mut command = Command::new("/proc/self/exe");
    // What ps shows; the path would only say /proc/self/exe.
    command.arg0("knarr-shim");
    command.args(&config.shim_args).arg(stage).arg(&dir.0).env_clear().stdin(Stdio::null());
    command
}

/// Stage one: the agent waits for this process, which ends at once.
fn start(dir: &InstanceDir) -> io::Result<()> {
    let config = config(dir)?;
    again(&config, "run", dir).current_dir("/").stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    Ok(())
}

/// Stage two: the parent of the container.
fn run(dir: &InstanceDir) -> io::Result<()> {
    rustix::process::setsid()?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let config = config(dir)?;
    let control =
        rustix::fs::open(dir.control(), OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
    let log = Arc::new(LogWriter::open(dir, config.log_bytes_max)?);
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let spawned = again(&config, "exec", dir)
        .arg(own.to_string())
        .current_dir(&config.working_dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => return records::write(&dir.exit(), &never_started(format!("spawn: {error}"))),
    };
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    let started = now().micros();
    let record = StartRecord {
        pid,
        ticks: os::start_ticks(pid).unwrap_or(0),
        shim_pid: own,
        shim_ticks: os::start_ticks(own).unwrap_or(0),
        started_micros: started,
    };
    records::write(&dir.start(), &record)?;
    let words = copy_output(&log, &mut child);
    let leader = Pid::from_raw(pid).ok_or_else(|| io::Error::other("a child has a pid"))?;
    let has_ended = Arc::new(AtomicBool::new(false));
    let watch = Watch { dir: dir.clone(), inode: inode(&dir.0), leader, has_ended: has_ended.clone() };
    std::thread::spawn(move || watch.run(&control));
    let status = wait_for(leader)?;
    has_ended.store(true, Ordering::SeqCst);
    end_the_rest(leader, own);
    for done in words {
        let _ = done.recv_timeout(LAST_WORDS);
    }
    if !dir.0.exists() {
        return Ok(());
    }
    records::write(&dir.exit(), &ended(dir, status, started))
}

/// Two threads that write the log; each says when its stream has ended.
fn copy_output(log: &Arc<LogWriter>, child: &mut std::process::Child) -> Vec<mpsc::Receiver<()>> {
    let mut out = Vec::new();
    let mut copy = |from: Box<dyn io::Read + Send>, stream: &'static str| {
        let (done, receiver) = mpsc::channel();
        let log = log.clone();
        std::thread::spawn(move || {
            log.copy(from, stream);
            let _ = done.send(());
        });
        out.push(receiver);
    };
    if let Some(from) = child.stdout.take() {
        copy(Box::new(from), "stdout");
    }
    if let Some(from) = child.stderr.take() {
        copy(Box::new(from), "stderr");
    }
    out
}

/// Waits for the container; whatever else ends meanwhile is reaped.
fn wait_for(leader: Pid) -> io::Result<rustix::process::WaitStatus> {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == leader => return Ok(status),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Kills what the container has left behind: its session, and what fell to this process as their new parent.
fn end_the_rest(leader: Pid, own: i32) {
    let _ = rustix::process::kill_process_group(leader, Signal::KILL);
    for _ in 0..100 {
        let left = procfs::children(own);
        if left.is_empty() {
            return;
        }
        for pid in left.into_iter().filter_map(Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
        while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn ended(dir: &InstanceDir, status: rustix::process::WaitStatus, started: i64) -> ExitRecord {
    if let Ok(why) = std::fs::read_to_string(dir.start_error()) {
        return never_started(why);
    }
    let signal = status.terminating_signal();
    ExitRecord {
        code: status.exit_status().or(signal.map(|s| 128 + s)).unwrap_or(255),
        signal,
        started_micros: Some(started),
        finished_micros: now().micros(),
        ..ExitRecord::default()
    }
}

fn never_started(why: String) -> ExitRecord {
    ExitRecord {
        code: START_ERROR,
        reason: "StartError".to_owned(),
        message: why,
        finished_micros: now().micros(),
        ..ExitRecord::default()
    }
}

fn inode(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|m| (m.dev(), m.ino()))
}

/// Ends the container when the agent asks for it, or when the directory is gone.
struct Watch {
    dir: InstanceDir,
    inode: Option<(u64, u64)>,
    leader: Pid,
    has_ended: Arc<AtomicBool>,
}

impl Watch {
    fn run(&self, control: &impl std::os::fd::AsFd) {
        let mut kill_at: Option<Instant> = None;
        let mut was_told = false;
        loop {
            if let Some(stop) = records::read::<StopRecord>(&self.dir.stop()).ok().flatten() {
                let left = u64::try_from(stop.kill_at_micros - now().micros()).unwrap_or(0);
                let at = Instant::now() + Duration::from_micros(left);
                kill_at = Some(kill_at.map_or(at, |old| old.min(at)));
                if !std::mem::replace(&mut was_told, true) {
                    self.signal(Signal::TERM);
                }
            }
            let is_gone = inode(&self.dir.0) != self.inode;
            if is_gone || kill_at.is_some_and(|at| at <= Instant::now()) {
                self.signal(Signal::KILL);
            }
            if self.has_ended.load(Ordering::SeqCst) {
                return;
            }
            let wait = kill_at.map_or(WATCH, |at| at.saturating_duration_since(Instant::now()).min(WATCH));
            sleep_until_told(control, wait.max(Duration::from_millis(1)));
        }
    }

    fn signal(&self, signal: Signal) {
        if self.has_ended.load(Ordering::SeqCst) {
            return;
        }
        if signal == Signal::KILL {
            let _ = rustix::process::kill_process_group(self.leader, signal);
        }
        let _ = rustix::process::kill_process(self.leader, signal);
    }
}

/// Waits for a byte on the control pipe, and takes whatever is there.
fn sleep_until_told(control: &impl std::os::fd::AsFd, wait: Duration) {
    let timeout = Timespec {
        tv_sec: i64::try_from(wait.as_secs()).unwrap_or(1),
        tv_nsec: i64::from(wait.subsec_nanos()),
    };
    let mut fds = [PollFd::new(control, PollFlags::IN)];
    if poll(&mut fds, Some(&timeout)).is_ok_and(|ready| ready > 0) {
        let mut buffer = [0u8; 256];
        while rustix::io::read(control, &mut buffer[..]).is_ok_and(|count| count == 256) {}
    }
}

/// Stage three: becomes the container.
fn exec(dir: &InstanceDir, parent: &str) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let is_orphan = rustix::process::getppid().is_none_or(|p| p.as_raw_nonzero().to_string() != parent);
    if is_orphan {
        return Err(io::Error::other("the parent is gone"));
    }
    rustix::process::setsid()?;
    rustix::thread::set_no_new_privs(true)?;
    limit();
    let config = config(dir)?;
    let program = PathBuf::from(config.command.first().map_or("", String::as_str));
    let mut command = Command::new(&program);
    command.args(&config.command[1.min(config.command.len())..]).env_clear().envs(&config.env);
    let error = command.exec();
    let why = format!("exec {}: {error}", program.display());
    let _ = std::fs::write(dir.start_error(), &why);
    Err(io::Error::other(why))
}

/// No core files, and a bounded number of open files.
fn limit() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let _ = rustix::process::setrlimit(Resource::Core, none);
    let hard = rustix::process::getrlimit(Resource::Nofile).maximum.unwrap_or(FILES_MAX).min(FILES_MAX);
    let _ = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: Some(hard), maximum: Some(hard) });
}
