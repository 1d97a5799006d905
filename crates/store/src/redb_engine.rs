//! The durable engine: one table of records by revision within a redb file.
//!
//! Records arrive in order of revision, so every insertion is at the right edge of the tree, and each version is written once. Live objects
//! and the window of history are the same records; what neither can reach is removed in the transaction of a later batch.

use std::fmt;
use std::io;

use redb::{
    Database, ReadableDatabase, ReadableTable, StorageBackend, StorageError, TableDefinition,
    WriteTransaction,
};
use store_mvcc::{Record, Revision};

use crate::engine::{Engine, EngineError, Replayed, Sink};
use crate::record::{decode, encode};

const LOG: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("log");
const META: TableDefinition<'static, &'static str, u64> = TableDefinition::new("meta");

/// The format of the records; greater ones are refused.
pub(crate) const FORMAT: u64 = 1;
/// Pages that redb keeps in memory; reads are served from the store's own memory, so it needs few.
const CACHE_BYTES: usize = 16 << 20;

/// Opens the storage anew after it refused for lack of room.
pub(crate) type Reopen = Box<dyn FnMut() -> io::Result<Box<dyn StorageBackend>> + Send>;

/// An engine over a redb file, or over anything that can be read and written like one.
pub struct RedbEngine {
    /// Dropped first: it refers to the database.
    gathering: Option<WriteTransaction>,
    db: Option<Database>,
    what: String,
    reopen: Reopen,
    /// The newest revision gathered, and the newest that is durable.
    gathered: Revision,
    durable: Revision,
}

impl fmt::Debug for RedbEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbEngine")
            .field("what", &self.what)
            .field("durable", &self.durable)
            .finish_non_exhaustive()
    }
}

/// Lets a boxed backend be given where a type is asked for.
#[derive(Debug)]
struct Boxed(Box<dyn StorageBackend>);

impl StorageBackend for Boxed {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
    fn close(&self) -> io::Result<()> {
        self.0.close()
    }
}

impl RedbEngine {
    /// Opens or creates the database; `what` names it in messages, `reopen` gives its storage each time it is opened.
    ///
    /// # Errors
    /// When the storage cannot be opened, is damaged or was written by a newer release.
    pub fn open(
        what: impl Into<String>,
        reopen: impl FnMut() -> io::Result<Box<dyn StorageBackend>> + Send + 'static,
    ) -> Result<RedbEngine, EngineError> {
        let mut engine = RedbEngine {
            gathering: None,
            db: None,
            what: what.into(),
            reopen: Box::new(reopen),
            gathered: Revision(0),
            durable: Revision(0),
        };
        engine.load()?;
        Ok(engine)
    }

    fn load(&mut self) -> Result<(), EngineError> {
        let backend = (self.reopen)().map_err(|e| EngineError::Failed(format!("open {}: {e}", self.what)))?;
        let opened = redb::Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(Boxed(backend));
        let db = opened.map_err(|e| self.refused(e.into()))?;
        self.prepare(&db)?;
        self.db = Some(db);
        Ok(())
    }

    /// Makes the tables of a new file; checks those of an old one.
    fn prepare(&mut self, db: &Database) -> Result<(), EngineError> {
        let run = || -> Result<(u64, Revision), redb::Error> {
            let txn = db.begin_write()?;
            let (format, last) = {
                let mut meta = txn.open_table(META)?;
                let found = meta.get("format")?.map(|v| v.value());
                if found.is_none() {
                    meta.insert("format", FORMAT)?;
                }
                let floor = meta.get("floor")?.map_or(0, |v| v.value());
                let log = txn.open_table(LOG)?;
                let last = log.last()?.map_or(0, |(k, _)| k.value());
                (found, Revision(last.max(floor)))
            };
            if format.is_none() {
                txn.commit()?;
            } else {
                txn.abort()?;
            }
            Ok((format.unwrap_or(FORMAT), last))
        };
        let (format, last) = run().map_err(|e| self.refused(e))?;
        if format > FORMAT {
            return Err(EngineError::TooNew { what: self.what.clone(), found: format, known: FORMAT });
        }
        (self.durable, self.gathered) = (last, last);
        Ok(())
    }

    fn refused(&self, why: redb::Error) -> EngineError {
        let corrupt = |why: String| EngineError::Corrupt { what: self.what.clone(), why };
        match why {
            redb::Error::Io(e) if is_full(&e) => EngineError::Full,
            redb::Error::Io(e) if e.kind() == io::ErrorKind::InvalidData => corrupt(e.to_string()),
            redb::Error::Io(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                corrupt("it is cut short".to_owned())
            }
            redb::Error::Corrupted(why) => corrupt(why),
            redb::Error::RepairAborted => corrupt("it cannot be repaired".to_owned()),
            e @ (redb::Error::TableTypeMismatch { .. } | redb::Error::UpgradeRequired(_)) => {
                corrupt(e.to_string())
            }
            e => EngineError::Failed(format!("{}: {e}", self.what)),
        }
    }

    fn db(&self) -> Result<&Database, EngineError> {
        self.db.as_ref().ok_or_else(|| EngineError::Failed(format!("{} is closed", self.what)))
    }

    /// Runs `work` within the transaction that gathers.
    fn gather(
        &mut self,
        work: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), EngineError> {
        let txn = match self.gathering.take() {
            Some(txn) => txn,
            None => self.db()?.begin_write().map_err(|e| self.refused(e.into()))?,
        };
        match work(&txn) {
            Ok(()) => {
                self.gathering = Some(txn);
                Ok(())
            }
            Err(why) => {
                drop(txn);
                self.fail(why)
            }
        }
    }

    /// After an error: a lack of room is looked into, anything else is final.
    fn fail(&mut self, why: redb::Error) -> Result<(), EngineError> {
        match self.refused(why) {
            EngineError::Full => self.recover(),
            why => {
                self.db = None;
                Err(why)
            }
        }
    }

    /// Opens the database anew to see whether the batch that met a full disk is there.
    fn recover(&mut self) -> Result<(), EngineError> {
        let (before, wanted) = (self.durable, self.gathered);
        self.gathering = None;
        self.db = None;
        match self.load() {
            Ok(()) if self.durable == wanted && wanted != before => Ok(()),
            Ok(()) if self.durable == before => Err(EngineError::Full),
            Ok(()) => Err(EngineError::Failed(format!("{}: holds revision {}", self.what, self.durable))),
            Err(why) => {
                Err(EngineError::Failed(format!("{}: open again after the disk was full: {why}", self.what)))
            }
        }
    }
}

fn is_full(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl Engine for RedbEngine {
    fn replay(&mut self, sink: Sink<'_>) -> Result<(), EngineError> {
        let txn = self.db()?.begin_read().map_err(|e| self.refused(e.into()))?;
        let floor = (|| -> Result<u64, redb::Error> {
            Ok(txn.open_table(META)?.get("floor")?.map_or(0, |v| v.value()))
        })();
        sink(Replayed::Floor(Revision(floor.map_err(|e| self.refused(e))?)))?;
        let log = txn.open_table(LOG).map_err(|e| self.refused(e.into()))?;
        for entry in log.iter().map_err(|e| self.refused(e.into()))? {
            let (revision, bytes) = entry.map_err(|e| self.refused(e.into()))?;
            let revision = Revision(revision.value());
            let senseless =
                || EngineError::Corrupt { what: self.what.clone(), why: format!("record {revision}") };
            sink(Replayed::Record(decode(revision, bytes.value()).ok_or_else(senseless)?))?;
        }
        Ok(())
    }

    fn append(&mut self, batch: &[Record]) -> Result<(), EngineError> {
        if let Some(last) = batch.last() {
            self.gathered = last.revision;
        }
        self.gather(|txn| {
            let mut log = txn.open_table(LOG)?;
            for record in batch {
                log.insert(record.revision.0, encode(record).as_slice())?;
            }
            Ok(())
        })
    }

    fn truncate(&mut self, dropped: &[Revision], floor: Revision) -> Result<(), EngineError> {
        self.gather(|txn| {
            txn.open_table(META)?.insert("floor", floor.0)?;
            let mut log = txn.open_table(LOG)?;
            for revision in dropped {
                log.remove(revision.0)?;
            }
            Ok(())
        })
    }

    fn sync(&mut self) -> Result<(), EngineError> {
        let Some(txn) = self.gathering.take() else { return Ok(()) };
        match txn.commit() {
            Ok(()) => {
                self.durable = self.gathered;
                Ok(())
            }
            Err(why) => self.fail(why.into()),
        }
    }

    fn get(&mut self, revision: Revision) -> Result<Option<Record>, EngineError> {
        let run = |db: &Database| -> Result<Option<Record>, redb::Error> {
            let log = db.begin_read()?.open_table(LOG)?;
            let Some(bytes) = log.get(revision.0)? else { return Ok(None) };
            let record = decode(revision, bytes.value());
            record.map(Some).ok_or_else(|| StorageError::Corrupted(format!("record {revision}")).into())
        };
        run(self.db()?).map_err(|e| self.refused(e))
    }
}
