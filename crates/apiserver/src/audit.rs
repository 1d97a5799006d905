//! The audit log: a line of JSON for every request, in the form of `audit.k8s.io/v1` at level Metadata.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

/// A file that every request leaves a line in, who it was from and what came of it, never what was in it.
///
/// Lines are appended whole and before the answer leaves, as upstream's blocking log does; other programs may move or
/// truncate the file. There is no rotation, and nothing is synced: a machine that loses power may lose the last lines.
pub struct AuditLog {
    file: Mutex<File>,
}

impl AuditLog {
    /// Opens the log, making it for its owner alone when it is not there.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn open(path: &Path) -> io::Result<AuditLog> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        Ok(AuditLog { file: Mutex::new(file) })
    }

    /// Appends an event.
    pub(crate) fn write(&self, event: &Value) {
        let line = format!("{event}\n");
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // A full disk must not stop the cluster; who watches the log is told in the other one.
        if let Err(error) = file.write_all(line.as_bytes()) {
            tracing::error!(%error, "a request is missing from the audit log");
        }
    }
}
