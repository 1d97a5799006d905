//! The five calls behind which durability lives.

use store_mvcc::{Record, Revision};

/// A log of records, one per revision, that survives the process. Driven by one owner.
///
/// `append` and `truncate` gather; `sync` makes all that was gathered durable at once. After an error other than [`EngineError::Full`] what
/// was gathered may or may not be there, and the engine is not used again.
pub trait Engine: Send {
    /// Gives the floor of history first, then every record in order of revision.
    ///
    /// # Errors
    /// When the disk cannot be read, or `sink` refuses a record.
    fn replay(&mut self, sink: Sink<'_>) -> Result<(), EngineError>;

    /// Gathers new records, in order of revision.
    ///
    /// # Errors
    /// `Full` when there is no room for them; then none of them was gathered.
    fn append(&mut self, batch: &[Record]) -> Result<(), EngineError>;

    /// Gathers the removal of records that no read can reach, and the new floor of history.
    ///
    /// # Errors
    /// When the disk refuses.
    fn truncate(&mut self, dropped: &[Revision], floor: Revision) -> Result<(), EngineError>;

    /// Makes everything gathered durable, all of it or nothing.
    ///
    /// # Errors
    /// `Full` when there was no room: then nothing gathered was kept, for sure. Any other error leaves the outcome open.
    fn sync(&mut self) -> Result<(), EngineError>;

    /// Frees room that was kept for deletions, if there is any; says whether it did. Called when there was no room for them.
    fn make_room(&mut self) -> bool {
        false
    }

    /// Reads back one durable record.
    ///
    /// # Errors
    /// When the disk cannot be read.
    fn get(&mut self, revision: Revision) -> Result<Option<Record>, EngineError>;
}

/// What an engine gives on replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// Everything up to here had left the window of history; comes first, and once.
    Floor(Revision),
    /// A record.
    Record(Record),
}

/// Who takes what an engine gives on replay.
pub type Sink<'a> = &'a mut dyn FnMut(Replayed) -> Result<(), EngineError>;

/// Why an engine did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// No room; nothing of the batch was kept.
    #[error("no space left")]
    Full,
    /// What is on disk makes no sense.
    #[error("{what} is damaged: {why}")]
    Corrupt {
        /// Which file.
        what: String,
        /// What was found.
        why: String,
    },
    /// What is on disk was written by a newer release.
    #[error("{what} has format {found}, known up to {known}")]
    TooNew {
        /// Which file.
        what: String,
        /// Its format.
        found: u64,
        /// The newest format that is understood.
        known: u64,
    },
    /// The disk failed; the outcome is open and the engine must not be used again.
    #[error("{0}")]
    Failed(String),
}
