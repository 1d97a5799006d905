//! What can go wrong, by what the caller can do about it.

use std::path::PathBuf;
use std::sync::Arc;

use store_mvcc::{Revision, Stored, Unavailable};

use crate::EngineError;

/// Why the store did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The precondition of a write does not hold; nothing was written.
    #[error("the object has changed: {}", current.as_ref().map_or("it is not there".to_owned(), |c| format!("it is at revision {}", c.revision)))]
    Conflict {
        /// What is there instead.
        current: Option<Arc<Stored>>,
    },
    /// The past that was asked for has left the window of history.
    #[error("the past that was asked for is gone; the oldest revision still known is {oldest}")]
    Compacted {
        /// The oldest revision that can be served.
        oldest: Revision,
    },
    /// The revision that was asked for is not there yet.
    #[error("the newest revision is {head}")]
    Future {
        /// The newest revision.
        head: Revision,
    },
    /// The disk is full, or refuses writes; nothing was written. Deletions are still tried.
    #[error(
        "the disk of the store is full or refuses writes: nothing else is written until it takes them again, deletions are tried"
    )]
    Full,
    /// The store is shutting down; nothing was written.
    #[error("the store is closed")]
    Closed,
    /// The write may or may not have happened; only a restart will tell.
    #[error("the outcome of the write is not known: {0}")]
    Unknown(Arc<str>),
    /// An earlier failure ended all writing; the process should exit and start again.
    #[error("the store writes no more after an earlier failure, restart to recover: {0}")]
    Fatal(Arc<str>),
    /// What the disk holds makes no sense.
    #[error("{what} is damaged: {why}. {remedy}")]
    Corrupt {
        /// Which file.
        what: String,
        /// What was found.
        why: String,
        /// What to do about it.
        remedy: String,
    },
    /// The data directory was written by a newer release.
    #[error("{} has format {found}, this release reads up to format {known}: use the newer release; to go back, save its data with `knarr store backup` of the newer release and \
             restore that into another data directory with this one", file.display())]
    TooNew {
        /// The file that says so.
        file: PathBuf,
        /// The format of the data.
        found: u64,
        /// The newest format that is understood.
        known: u64,
    },
    /// Another process has the data directory.
    #[error("{} is in use by {}: stop it, or choose another data directory", dir.display(), pid.map_or("another process".to_owned(), |p| format!("process {p}")))]
    Locked {
        /// The data directory.
        dir: PathBuf,
        /// Who has it, if it says.
        pid: Option<u32>,
    },
    /// What is to be filled from a backup holds data.
    #[error("{} holds data already: restore into an empty directory, and move this one away if it is to be replaced", dir.display())]
    Occupied {
        /// The data directory.
        dir: PathBuf,
    },
    /// The file system refused.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        #[source]
        source: Arc<std::io::Error>,
    },
}

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
        let what = what.into();
        |source| Error::Io { what, source: Arc::new(source) }
    }
}

impl From<Unavailable> for Error {
    fn from(why: Unavailable) -> Error {
        match why {
            Unavailable::Compacted { oldest } => Error::Compacted { oldest },
            Unavailable::Future { head } => Error::Future { head },
        }
    }
}

impl From<EngineError> for Error {
    fn from(why: EngineError) -> Error {
        match why {
            EngineError::Full => Error::Full,
            EngineError::Corrupt { what, why } => Error::Corrupt {
                what,
                why,
                remedy:
                    "Restore the data directory from a backup, or move it away to start with an empty cluster"
                        .to_owned(),
            },
            EngineError::TooNew { what, found, known } => Error::TooNew { file: what.into(), found, known },
            EngineError::Failed(why) => Error::Fatal(why.into()),
        }
    }
}
