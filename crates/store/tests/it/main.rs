//! The store's promises, over every engine: in memory, on a real file, and on a disk that fails.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests end at the unexpected, and say what they did"
)]

mod backup;
mod contract;
mod crash;
mod files;
mod full_disk;
mod model;
mod planted;
mod threaded;
mod world;

use std::future::Future;
use std::path::{Path, PathBuf};

/// Runs a future on a runtime of its own.
pub(crate) fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime without drivers").block_on(work)
}

/// A directory that goes away with the value.
pub(crate) struct TempDir(PathBuf);

impl TempDir {
    pub(crate) fn new(name: &str) -> TempDir {
        let dir = std::env::temp_dir().join(format!("knarr-store-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).expect("a temporary directory");
        TempDir(dir)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
