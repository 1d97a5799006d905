//! The audit log: lines of JSON about requests, in the form of `audit.k8s.io/v1`.

mod policy;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

pub(crate) use policy::{Asked, Level, Stage, Verdict};
pub use policy::{Policy, PolicyError};
use serde_json::Value;
use stdx::Time;

/// When a log is put aside and a new one begun, and how many are kept; upstream's `--audit-log-maxsize`, `-maxbackup` and `-maxage`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes of a file; 0 for no bound.
    pub bytes_max: u64,
    /// Files kept beside the one that is written; 0 for all.
    pub backups_max: usize,
    /// How long a file is kept after it was put aside; zero for ever.
    pub age_max: Duration,
}

/// A file that requests leave lines in: who they were from and what came of them, and as much of what was in them as a policy wants.
///
/// Lines are appended whole and before the answer leaves, as upstream's blocking log does; other programs may move or
/// truncate the file. Nothing is synced: a machine that loses power may lose the last lines.
pub struct AuditLog {
    path: PathBuf,
    rotation: Rotation,
    policy: Policy,
    file: Mutex<Sized>,
}

/// A file and how long it is.
struct Sized {
    file: File,
    bytes: u64,
}

impl Sized {
    fn open(path: &Path) -> io::Result<Sized> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Sized { file, bytes })
    }
}

impl AuditLog {
    /// Opens the log, making it for its owner alone when it is not there. It grows without bound, and has one line for every request
    /// (two for a watch) at level Metadata.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn open(path: &Path) -> io::Result<AuditLog> {
        let file = Mutex::new(Sized::open(path)?);
        Ok(AuditLog {
            path: path.to_owned(),
            rotation: Rotation::default(),
            policy: Policy::metadata(),
            file,
        })
    }

    /// The same within these bounds.
    #[must_use]
    pub fn rotated(self, rotation: Rotation) -> AuditLog {
        AuditLog { rotation, ..self }
    }

    /// The same with what a policy wants to know.
    #[must_use]
    pub fn judged_by(self, policy: Policy) -> AuditLog {
        AuditLog { policy, ..self }
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Appends an event; says whether it is there.
    pub(crate) fn write(&self, event: &Value, now: Time) -> bool {
        let line = format!("{event}\n");
        let mut log = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = line.len() as u64;
        if self.rotation.bytes_max > 0 && log.bytes > 0 && log.bytes + bytes > self.rotation.bytes_max {
            match self.rotate(now) {
                Ok(next) => *log = next,
                Err(error) => tracing::error!(%error, "the audit log goes on in a file that is too long"),
            }
        }
        // A full disk must not stop the cluster; who watches the log is told in the other one.
        match log.file.write_all(line.as_bytes()) {
            Ok(()) => {
                log.bytes += bytes;
                true
            }
            Err(error) => {
                tracing::error!(%error, "an event is missing from the audit log");
                false
            }
        }
    }

    /// Puts the file aside under the name of this moment, and removes those that are not kept any more.
    fn rotate(&self, now: Time) -> io::Result<Sized> {
        let aside = self.aside(now);
        // Two within a millisecond: the file is rather too long than gone.
        if !aside.exists() {
            fs::rename(&self.path, &aside)?;
        }
        let next = Sized::open(&self.path)?;
        let kept = self.backups()?;
        let newest = match self.rotation.backups_max {
            0 => kept.len(),
            max => max,
        };
        let oldest_kept = (!self.rotation.age_max.is_zero()).then(|| self.aside(now - self.rotation.age_max));
        let (gone, kept) = kept.split_at(kept.len().saturating_sub(newest));
        let aged = kept.iter().filter(|file| oldest_kept.as_ref().is_some_and(|oldest| *file < oldest));
        for file in gone.iter().chain(aged) {
            fs::remove_file(file)?;
        }
        Ok(next)
    }

    /// Name, with its dash, and ending that files put aside share.
    fn name(&self) -> (String, String) {
        let part = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
        let ending = part(self.path.extension());
        let ending = if ending.is_empty() { ending } else { format!(".{ending}") };
        (format!("{}-", part(self.path.file_stem())), ending)
    }

    /// Where a file goes that is put aside now: `NAME-2026-11-28T21-00-00.000.ENDING`, as upstream has it.
    fn aside(&self, now: Time) -> PathBuf {
        const TO_MILLIS: usize = "2026-11-28T21:00:00.000".len();
        let (name, ending) = self.name();
        let moment: String = now.to_micro_string().chars().take(TO_MILLIS).collect();
        self.path.with_file_name(format!("{name}{}{ending}", moment.replace(':', "-")))
    }

    /// Files put aside, oldest first.
    fn backups(&self) -> io::Result<Vec<PathBuf>> {
        const STAMP: usize = "2026-11-28T21-00-00.000".len();
        let (name, ending) = self.name();
        let dir = self.path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let is_own = |path: &PathBuf| {
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let stamp = file.strip_prefix(&name).and_then(|rest| rest.strip_suffix(&ending));
            stamp.is_some_and(|stamp| stamp.len() == STAMP && stamp.starts_with(|c: char| c.is_ascii_digit()))
        };
        let mut found: Vec<PathBuf> =
            fs::read_dir(dir)?.filter_map(|entry| Some(entry.ok()?.path())).filter(is_own).collect();
        found.sort();
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_log_is_put_aside_when_it_is_full_and_the_oldest_go() {
        let dir = std::env::temp_dir().join(format!("apiserver-audit-rotation-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("audit-of-somebody-else.log"), "").unwrap();
        let rotation = Rotation { bytes_max: 30, backups_max: 2, age_max: Duration::ZERO };
        let log = AuditLog::open(&dir.join("audit.log")).unwrap().rotated(rotation);
        for n in 0..10 {
            // Two lines fit.
            assert!(log.write(&json!({"number": n}), Time::from_secs(1_000 + n)));
        }
        let mut names: Vec<String> = fs::read_dir(&dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        let expected = [
            "audit-1970-01-01T00-16-46.000.log",
            "audit-1970-01-01T00-16-48.000.log",
            "audit-of-somebody-else.log",
            "audit.log",
        ];
        assert_eq!(names, expected);
        assert_eq!(fs::read_to_string(dir.join("audit.log")).unwrap(), "{\"number\":8}\n{\"number\":9}\n");
        let day = Rotation { bytes_max: 30, backups_max: 0, age_max: Duration::from_secs(86_400) };
        let log = AuditLog::open(&dir.join("audit.log")).unwrap().rotated(day);
        assert!(log.write(&json!({"number": 10}), Time::from_secs(1_000_000)));
        assert_eq!(log.backups().unwrap().len(), 1, "those of the first day are gone");
        fs::remove_dir_all(dir).unwrap();
    }
}
