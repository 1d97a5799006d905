//! The decision log: every decision with what it was about, and every change of what decisions rest on, as lines of JSON.
//!
//! ```text
//! desk ── entries of a turn ──▶ [bounded queue] ──▶ thread: lines, files, rotation
//!    ▲                                                │
//!    └──── "I have turned the page: tell me all" ─────┘
//! ```
//!
//! The scheduler never waits: what finds the queue full is dropped and counted, and the log goes on with the whole state once the
//! queue is empty again. Every file can be read alone, for it begins with the whole state. What is absent: reading
//! (`simulate`), and what waits in the queue of pods.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use sched_core::{Entry, LOG_KIND, LOG_VERSION, Snapshot};
use serde_json::{Value, json};

/// How a decision log is written.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// The newest file; older ones carry a number: `FILE.1` is the one before.
    pub path: PathBuf,
    /// A file that has grown to so many bytes is the last but one.
    pub bytes_max: u64,
    /// Greatest number of files kept, the newest included.
    pub files_max: usize,
    /// Greatest number of turns that wait to be written.
    pub turns_max: usize,
    /// The KubeSchedulerConfiguration that the log names, so that it can be replayed; the scheduler's own when absent.
    pub configuration: Option<Value>,
}

impl LogSettings {
    /// Five files of 64 MiB.
    pub fn new(path: PathBuf) -> LogSettings {
        LogSettings { path, bytes_max: 64 << 20, files_max: 5, turns_max: 256, configuration: None }
    }
}

/// What the desk hands over.
enum Batch {
    /// The KubeSchedulerConfiguration in force; absent for kube-scheduler's defaults.
    Head(Option<Value>),
    /// What happened.
    Lines(Vec<Entry>),
    /// Turn the page; the new one begins with this.
    Page(Vec<Entry>),
}

/// The writing end of a decision log. When it is dropped, what waits is written to the end.
pub struct DecisionLog {
    to: Option<SyncSender<Batch>>,
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
    /// Entries dropped since the last whole state.
    gap: u64,
}

#[derive(Default)]
struct Shared {
    /// Batches handed over and not yet written.
    waiting: AtomicUsize,
    /// The file is full.
    is_full: AtomicBool,
    written: AtomicU64,
    lost: AtomicU64,
}

impl DecisionLog {
    /// Begins a log: a file of an earlier life is kept as an older one.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn open(settings: LogSettings) -> std::io::Result<DecisionLog> {
        let shared = Arc::new(Shared::default());
        let mut writer =
            Writer { shared: shared.clone(), file: None, bytes: 0, configuration: None, settings };
        if writer.settings.path.exists() {
            writer.shift()?;
        }
        writer.file = Some(BufWriter::new(File::create(&writer.settings.path)?));
        let (to, from) = sync_channel(writer.settings.turns_max.max(1));
        let writer =
            std::thread::Builder::new().name("decision log".into()).spawn(move || writer.run(&from))?;
        Ok(DecisionLog { to: Some(to), shared, writer: Some(writer), gap: 0 })
    }

    /// Lines written, and lines dropped because too many waited or the file could not be written.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.shared.written.load(Ordering::Relaxed), self.shared.lost.load(Ordering::Relaxed))
    }

    /// Says by which configuration decisions are made, so that the log can be replayed. Comes first.
    pub(crate) fn begin(&mut self, configuration: Option<Value>) {
        self.push(Batch::Head(configuration));
    }

    /// Hands over what the snapshot's journal says. Never waits.
    pub(crate) fn tell(&mut self, snapshot: &mut Snapshot) {
        let entries = snapshot.take_journal();
        if self.gap > 0 {
            self.lose(entries.len());
            if self.shared.waiting.load(Ordering::Acquire) == 0 {
                let begin = Entry::Begin { lost: std::mem::take(&mut self.gap) };
                let all = std::iter::once(begin).chain(snapshot.state());
                self.push(Batch::Lines(all.collect()));
            }
            return;
        }
        if !entries.is_empty() {
            self.push(Batch::Lines(entries));
        }
        if self.gap == 0 && self.shared.is_full.swap(false, Ordering::AcqRel) {
            let all = std::iter::once(Entry::Begin { lost: 0 }).chain(snapshot.state());
            self.push(Batch::Page(all.collect()));
        }
    }

    fn lose(&mut self, entries: usize) {
        self.gap += entries as u64;
        self.shared.lost.fetch_add(entries as u64, Ordering::Relaxed);
    }

    fn push(&mut self, batch: Batch) {
        let Some(to) = &self.to else { return };
        self.shared.waiting.fetch_add(1, Ordering::AcqRel);
        let Err(TrySendError::Full(batch) | TrySendError::Disconnected(batch)) = to.try_send(batch) else {
            return;
        };
        self.shared.waiting.fetch_sub(1, Ordering::AcqRel);
        let entries = match batch {
            Batch::Head(_) => 0,
            Batch::Lines(entries) | Batch::Page(entries) => entries.len(),
        };
        self.lose(entries.max(1));
    }
}

impl Drop for DecisionLog {
    fn drop(&mut self) {
        drop(self.to.take());
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the writer of the decision log panicked");
        }
    }
}

/// The thread's side.
struct Writer {
    settings: LogSettings,
    shared: Arc<Shared>,
    file: Option<BufWriter<File>>,
    bytes: u64,
    configuration: Option<Value>,
}

impl Writer {
    fn run(mut self, from: &Receiver<Batch>) {
        while let Ok(batch) = from.recv() {
            let (count, done) = match batch {
                Batch::Head(configuration) => {
                    self.configuration = self.settings.configuration.clone().or(configuration);
                    (1, self.head())
                }
                Batch::Lines(entries) => (entries.len(), self.write(&entries)),
                Batch::Page(entries) => (entries.len(), self.page(&entries)),
            };
            if let Err(error) = done {
                self.shared.lost.fetch_add(count as u64, Ordering::Relaxed);
                if self.file.take().is_some() {
                    tracing::error!(%error, file = %self.settings.path.display(), "decision log not written any more");
                }
            }
            self.shared.waiting.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Turns the page: a new file, its head, the whole state.
    fn page(&mut self, entries: &[Entry]) -> std::io::Result<()> {
        self.shift()?;
        self.file = Some(BufWriter::new(File::create(&self.settings.path)?));
        self.bytes = 0;
        self.head()?;
        self.write(entries)
    }

    fn head(&mut self) -> std::io::Result<()> {
        let head = json!({"apiVersion": LOG_VERSION, "kind": LOG_KIND, "configuration": self.configuration});
        self.put(&head.to_string())?;
        self.flush()
    }

    fn write(&mut self, entries: &[Entry]) -> std::io::Result<()> {
        for entry in entries {
            self.put(&serde_json::to_string(entry)?)?;
            self.shared.written.fetch_add(1, Ordering::Relaxed);
        }
        self.flush()?;
        if self.bytes >= self.settings.bytes_max {
            self.shared.is_full.store(true, Ordering::Release);
            // Asked once for each page.
            self.bytes = 0;
        }
        Ok(())
    }

    fn put(&mut self, line: &str) -> std::io::Result<()> {
        let file = self.file.as_mut().ok_or_else(|| std::io::Error::other("closed after an error"))?;
        self.bytes += line.len() as u64 + 1;
        file.write_all(line.as_bytes())?;
        file.write_all(b"\n")
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.as_mut().map_or(Ok(()), BufWriter::flush)
    }

    /// Gives every file the next number; the oldest goes.
    fn shift(&mut self) -> std::io::Result<()> {
        self.file = None;
        let path = &self.settings.path;
        for number in (0..self.settings.files_max.max(1)).rev() {
            let (from, to) = (numbered(path, number), numbered(path, number + 1));
            match number + 1 < self.settings.files_max {
                _ if !from.exists() => {}
                true => std::fs::rename(from, to)?,
                false => std::fs::remove_file(from)?,
            }
        }
        Ok(())
    }
}

fn numbered(path: &Path, number: usize) -> PathBuf {
    if number == 0 {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sched_core::{NodeFact, Replayer};

    fn settings(name: &str) -> LogSettings {
        let dir = std::env::temp_dir().join(format!("knarr-decisions-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        LogSettings::new(dir.join("log"))
    }

    fn node(name: &str) -> NodeFact {
        NodeFact { name: name.into(), ..NodeFact::default() }
    }

    fn snapshot() -> Snapshot {
        let mut snapshot = Snapshot::new();
        snapshot.keep_journal();
        snapshot
    }

    /// Names of the nodes that a file leads to, read alone.
    fn nodes(path: &Path) -> Vec<String> {
        let text = std::fs::read_to_string(path).unwrap();
        let mut replayer = Replayer::default();
        for line in text.lines().skip(1) {
            replayer.take(serde_json::from_str(line).unwrap());
        }
        let mut names: Vec<String> =
            replayer.snapshot.nodes().map(|(_, n)| n.fact.name.to_string()).collect();
        names.sort();
        names
    }

    #[test]
    fn every_file_begins_with_the_whole_state_and_only_so_many_are_kept() {
        let settings = LogSettings { bytes_max: 1, files_max: 3, ..settings("pages") };
        let path = settings.path.clone();
        let mut snapshot = snapshot();
        let mut log = DecisionLog::open(settings).unwrap();
        log.begin(Some(json!({"kind": "KubeSchedulerConfiguration"})));
        for i in 0..6 {
            snapshot.set_node(node(&format!("n{i}")));
            log.tell(&mut snapshot);
            // The page is turned when the writer has asked for it.
            while log.shared.waiting.load(Ordering::Acquire) > 0 {
                std::thread::yield_now();
            }
            log.tell(&mut snapshot);
        }
        drop(log);
        assert!(numbered(&path, 2).exists() && !numbered(&path, 3).exists());
        for file in [&path, &numbered(&path, 1)] {
            let text = std::fs::read_to_string(file).unwrap();
            assert!(text.lines().next().unwrap().contains("KubeSchedulerConfiguration"), "{text}");
        }
        assert_eq!(nodes(&path).len(), 6);
        assert!(nodes(&numbered(&path, 1)).len() >= 5);
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn a_full_queue_drops_lines_counts_them_and_goes_on_with_the_whole_state() {
        let settings = settings("gap");
        let path = settings.path.clone();
        let mut snapshot = snapshot();
        let mut log = DecisionLog::open(settings).unwrap();
        log.begin(None);
        snapshot.set_node(node("n0"));
        log.tell(&mut snapshot);
        // As if the disk were slow: nothing is taken until the queue is empty.
        log.lose(1);
        log.shared.waiting.fetch_add(1, Ordering::AcqRel);
        snapshot.set_node(node("n1"));
        log.tell(&mut snapshot);
        log.shared.waiting.fetch_sub(1, Ordering::AcqRel);
        while log.shared.waiting.load(Ordering::Acquire) > 0 {
            std::thread::yield_now();
        }
        snapshot.set_node(node("n2"));
        log.tell(&mut snapshot);
        let lost = log.counts().1;
        drop(log);
        assert_eq!(lost, 3);
        assert!(std::fs::read_to_string(&path).unwrap().contains(r#"{"begin":{"lost":3}}"#));
        assert_eq!(nodes(&path), ["n0", "n1", "n2"]);
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn a_log_of_an_earlier_life_is_kept() {
        let settings = settings("lives");
        let path = settings.path.clone();
        std::fs::write(&path, "old").unwrap();
        drop(DecisionLog::open(settings).unwrap());
        assert_eq!(std::fs::read_to_string(numbered(&path, 1)).unwrap(), "old");
        std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }
}
