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

use crate::disk::{Boxed, Disk};
use crate::engine::{Engine, EngineError, Replayed, Sink};
use crate::record::{decode, encode};

const LOG: TableDefinition<'static, u64, &'static [u8]> = TableDefinition::new("log");
const META: TableDefinition<'static, &'static str, u64> = TableDefinition::new("meta");

/// The format of the records; greater ones are refused, lesser ones are read and written on in this one.
///
/// - 1: bodies plain, or compressed on their own.
/// - 2: bodies may refer to a dictionary of the program.
pub(crate) const FORMAT: u64 = 2;
/// Pages that redb keeps in memory; reads are served from the store's own memory, so it needs few.
const CACHE_BYTES: usize = 16 << 20;

/// How many bytes at the start of a file say that redb finished making it.
const MAGIC_BYTES: usize = 9;
/// Room that only deletions may use: a full disk must not keep anybody from making room.
const RESERVE_BYTES: u64 = 16 << 20;
/// Room that is set aside for deletions even when somebody else takes the rest.
const ASIDE_BYTES: u64 = 4 << 20;
/// How often the database is opened again over a disk that refuses even that, before the outcome counts as unknown.
const OPEN_TRIES: usize = 5;
/// What a batch may cost beside twice its records: pages of the tree that are written anew.
const BATCH_BYTES: u64 = 256 << 10;

/// An engine over a redb file, or over anything that can be read and written like one.
pub struct RedbEngine {
    gathering: Option<WriteTransaction>,
    db: Option<Database>,
    what: String,
    disk: Box<dyn Disk>,
    /// The newest revision gathered, and the newest that is durable.
    gathered: Revision,
    durable: Revision,
    /// Bytes of records that were removed since there was room on the disk: as much can be written without it growing.
    freed: u64,
    /// Whether room is set aside.
    has_aside: bool,
}

impl fmt::Debug for RedbEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbEngine")
            .field("what", &self.what)
            .field("durable", &self.durable)
            .finish_non_exhaustive()
    }
}

impl RedbEngine {
    /// Opens or creates the database on `disk`.
    ///
    /// # Errors
    /// When the file cannot be opened, is damaged or was written by a newer release.
    pub fn open(disk: impl Disk + 'static) -> Result<RedbEngine, EngineError> {
        let mut engine = RedbEngine {
            gathering: None,
            db: None,
            what: disk.name(),
            disk: Box::new(disk),
            gathered: Revision(0),
            durable: Revision(0),
            freed: 0,
            has_aside: false,
        };
        engine.load()?;
        engine.set_aside();
        Ok(engine)
    }

    fn load(&mut self) -> Result<(), EngineError> {
        let file = self.disk.open().map_err(|e| EngineError::Failed(format!("open {}: {e}", self.what)))?;
        clear_stillborn(file.as_ref()).map_err(|e| self.refused(e.into()))?;
        let open = || redb::Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(Boxed(file));
        let db = caught(open).map_err(|why| self.corrupt(why))?.map_err(|e| self.refused(e.into()))?;
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
                if found.is_none_or(|found| found < FORMAT) {
                    meta.insert("format", FORMAT)?;
                }
                let floor = meta.get("floor")?.map_or(0, |v| v.value());
                let log = txn.open_table(LOG)?;
                let last = log.last()?.map_or(0, |(k, _)| k.value());
                (found, Revision(last.max(floor)))
            };
            if format.is_none_or(|found| found < FORMAT) {
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

    fn corrupt(&self, why: impl Into<String>) -> EngineError {
        EngineError::Corrupt { what: self.what.clone(), why: why.into() }
    }

    /// Sets room aside, where there is more than enough.
    fn set_aside(&mut self) {
        if !self.has_aside && self.disk.free_bytes() >= RESERVE_BYTES + ASIDE_BYTES {
            self.has_aside = self.disk.set_aside(ASIDE_BYTES);
        }
    }

    /// Whether records that are no deletions may be written: there is room on the disk, or deletions have made some within the file.
    fn admits(&mut self, batch: &[Record]) -> bool {
        if self.disk.free_bytes() >= RESERVE_BYTES {
            self.freed = 0;
            self.set_aside();
            return true;
        }
        let body = |record: &Record| record.body.as_ref().map_or(0, |body| body.packed().len() as u64);
        let cost = batch.iter().map(|record| 2 * body(record)).sum::<u64>() + BATCH_BYTES;
        let is_paid = self.freed >= cost;
        if is_paid {
            self.freed -= cost;
        }
        is_paid
    }

    fn db(&self) -> Result<&Database, EngineError> {
        self.db.as_ref().ok_or_else(|| EngineError::Failed(format!("{} is closed", self.what)))
    }

    fn read_all(&self, sink: Sink<'_>) -> Result<(), EngineError> {
        let refused = |e: redb::Error| self.refused(e);
        let txn = self.db()?.begin_read().map_err(|e| refused(e.into()))?;
        let meta = txn.open_table(META).map_err(|e| refused(e.into()))?;
        let floor = meta.get("floor").map_err(|e| refused(e.into()))?.map_or(0, |v| v.value());
        sink(Replayed::Floor(Revision(floor)))?;
        let log = txn.open_table(LOG).map_err(|e| refused(e.into()))?;
        for entry in log.iter().map_err(|e| refused(e.into()))? {
            let (revision, bytes) = entry.map_err(|e| refused(e.into()))?;
            let revision = Revision(revision.value());
            let record = decode(revision, bytes.value());
            let damaged = || self.corrupt(format!("the checksum of record {revision} does not match"));
            sink(Replayed::Record(record.ok_or_else(damaged)?))?;
        }
        Ok(())
    }

    /// Lets go of the file. Over a damaged one redb may panic even here.
    fn close(&mut self) {
        let (gathering, db) = (self.gathering.take(), self.db.take());
        // The transaction goes first: it refers to the database.
        let _ = caught(|| drop(gathering));
        let _ = caught(|| drop(db));
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
        let outcome = caught(|| work(&txn));
        self.gathering = Some(txn);
        match outcome {
            Ok(Ok(())) => Ok(()),
            Ok(Err(why)) => self.fail(why),
            Err(panic) => self.fail(redb::Error::Corrupted(panic)),
        }
    }

    /// After an error: a lack of room is looked into, anything else is final.
    fn fail(&mut self, why: redb::Error) -> Result<(), EngineError> {
        match self.refused(why) {
            EngineError::Full => self.recover(),
            why => {
                self.close();
                Err(why)
            }
        }
    }

    /// Opens the database anew to see whether the batch that met a full disk is there.
    fn recover(&mut self) -> Result<(), EngineError> {
        let (before, wanted) = (self.durable, self.gathered);
        self.close();
        let mut opened = self.load();
        for _ in 1..OPEN_TRIES {
            if opened != Err(EngineError::Full) {
                break;
            }
            self.close();
            opened = self.load();
        }
        match opened {
            Ok(()) if self.durable == wanted && wanted != before => Ok(()),
            Ok(()) if self.durable == before => Err(EngineError::Full),
            Ok(()) => Err(EngineError::Failed(format!("{}: holds revision {}", self.what, self.durable))),
            Err(why) => {
                Err(EngineError::Failed(format!("{}: open again after the disk was full: {why}", self.what)))
            }
        }
    }
}

/// Empties a file whose creation was cut off by a crash: nothing but its first page was ever written, and that page never became valid.
fn clear_stillborn(file: &dyn StorageBackend) -> io::Result<()> {
    const PAGE: u64 = 4096;
    let length = file.len()?;
    let mut page = [0; PAGE as usize];
    let mut at = 0;
    while at < length {
        let part = &mut page[..(length - at).min(PAGE) as usize];
        file.read(at, part)?;
        let blank = if at == 0 { &part[..part.len().min(MAGIC_BYTES)] } else { &*part };
        if blank.iter().any(|byte| *byte != 0) {
            return Ok(());
        }
        at += PAGE;
    }
    if length > 0 {
        file.set_len(0)?;
        file.sync_data()?;
    }
    Ok(())
}

/// Runs `work`; a panic over a damaged file is an error like any other. The file is not used again afterwards.
fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    outcome.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or_default()
    })
}

impl Drop for RedbEngine {
    fn drop(&mut self) {
        self.close();
    }
}

fn is_full(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl Engine for RedbEngine {
    fn replay(&mut self, sink: Sink<'_>) -> Result<(), EngineError> {
        caught(|| self.read_all(sink)).unwrap_or_else(|why| Err(self.corrupt(why)))
    }

    fn append(&mut self, batch: &[Record]) -> Result<(), EngineError> {
        let Some(last) = batch.last() else { return Ok(()) };
        if batch.iter().any(|record| !record.is_delete) && !self.admits(batch) {
            return Err(EngineError::Full);
        }
        self.gathered = last.revision;
        self.gather(|txn| {
            let mut log = txn.open_table(LOG)?;
            for record in batch {
                log.insert(record.revision.0, encode(record).as_slice())?;
            }
            Ok(())
        })
    }

    fn truncate(&mut self, dropped: &[Revision], floor: Revision) -> Result<(), EngineError> {
        let mut freed = 0;
        self.gather(|txn| {
            txn.open_table(META)?.insert("floor", floor.0)?;
            let mut log = txn.open_table(LOG)?;
            for revision in dropped {
                freed += log.remove(revision.0)?.map_or(0, |old| old.value().len() as u64);
            }
            Ok(())
        })?;
        self.freed += freed;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), EngineError> {
        let Some(txn) = self.gathering.take() else { return Ok(()) };
        match caught(|| txn.commit()) {
            Ok(Ok(())) => {
                self.durable = self.gathered;
                Ok(())
            }
            Ok(Err(why)) => self.fail(why.into()),
            Err(panic) => self.fail(redb::Error::Corrupted(panic)),
        }
    }

    fn make_room(&mut self) -> bool {
        self.has_aside = false;
        self.disk.give_back()
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

#[cfg(test)]
mod tests {
    use store_mvcc::{Body, Key};

    use super::*;
    use crate::SimDisk;

    /// `{"a":"aaa…"}` as format 1 kept it.
    const OLD_BODY: [u8; 22] =
        [1, 59, 0, 0, 0, 127, 123, 34, 97, 34, 58, 34, 97, 1, 0, 28, 80, 97, 97, 97, 34, 125];

    fn format(engine: &RedbEngine) -> u64 {
        let txn = engine.db().unwrap().begin_read().unwrap();
        txn.open_table(META).unwrap().get("format").unwrap().unwrap().value()
    }

    #[test]
    fn a_file_of_the_first_format_is_read_and_written_on() {
        let disk = SimDisk::new(1);
        let record = |n: u64, body: Body| Record {
            revision: Revision(n),
            key: Key::new("pods", "shop", &n.to_string()),
            is_delete: false,
            body: Some(body),
        };
        let plain = format!("{{\"a\":\"{}\"}}", "a".repeat(51));
        let old = Body::from_packed(&OLD_BODY);
        assert_eq!(old.unpack().unwrap(), plain);
        let mut engine = RedbEngine::open(disk.clone()).unwrap();
        engine.append(&[record(1, old.clone())]).unwrap();
        engine
            .gather(|txn| txn.open_table(META)?.insert("format", 1).map(drop).map_err(redb::Error::from))
            .unwrap();
        engine.sync().unwrap();
        assert_eq!(format(&engine), 1);
        drop(engine);
        let mut engine = RedbEngine::open(disk.clone()).unwrap();
        assert_eq!(format(&engine), FORMAT, "an older release refuses it from now on");
        let new = Body::pack(plain.as_bytes());
        assert_ne!(new, old);
        engine.append(&[record(2, new.clone())]).unwrap();
        engine.sync().unwrap();
        let mut bodies = Vec::new();
        let mut keep = |item| {
            if let Replayed::Record(record) = item {
                bodies.extend(record.body);
            }
            Ok(())
        };
        engine.replay(&mut keep).unwrap();
        assert_eq!(bodies, [old, new]);
    }
}
