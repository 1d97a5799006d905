//! Backups: every live object of one moment in one file, and what is done with it.
//!
//! ```text
//! "KNARRBAK" format (u32) head (u64) | record ... | 0 (u64) count (u64) sum (u64)
//! record: revision (u64) | resource, namespace, name (u16 length each) | body (u32 length, plain) | checksum (u64)
//! ```
//!
//! Numbers are little-endian; bodies are as clients see them, so a backup depends on no other file and no way of packing, and releases
//! with another format on disk read it, too. The end says how many records there are and sums their checksums up: a file that was cut
//! short has no end. Behind the end there may be files (see [`Attachment`]). What is absent: history and times.
//!
//! A restored store keeps the revisions of its objects and goes on far above them. Whatever was written after the backup, and
//! seen by somebody, had revisions that are never given again; who asks for changes since then is told that they are gone.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use store_mvcc::{Body, Key, KeyRange, Record, Restore, Revision, Row, Stored, Window};

use crate::engine::Replayed;
use crate::{DataDir, Engine, Error, Store};

const MAGIC: &[u8; 8] = b"KNARRBAK";
const FORMAT: u32 = 1;
/// How far above everything in a backup a restored store goes on.
const JUMP: u64 = 1 << 32;
/// Most records that one call hands to the engine.
const BATCH: usize = 512;
/// Longest body of a record; no request is that large.
const BODY_BYTES_MAX: u32 = 64 << 20;

/// A file beside the objects, such as a key: its name and what is in it.
pub type Attachment = (String, Vec<u8>);

const FILES_MAGIC: &[u8; 8] = b"KNARRFIL";
/// Most files of a backup, and most bytes of one.
const FILES_MAX: u32 = 1_000;
const FILE_BYTES_MAX: u32 = 1 << 20;

/// Files as they stand behind the end of a backup: `"KNARRFIL" count (u32) | name (u16 length) bytes (u32 length) ... | checksum (u64)`.
///
/// # Errors
/// Names a file that is too large, or says that there are too many.
pub fn attach(files: &[Attachment]) -> Result<Vec<u8>, Error> {
    let too_large = |what: &str| broken(&format!("{what} cannot be part of it"));
    let count = u32::try_from(files.len()).ok().filter(|n| *n <= FILES_MAX);
    let mut out = FILES_MAGIC.to_vec();
    out.extend_from_slice(&count.ok_or_else(|| too_large("so many files"))?.to_le_bytes());
    for (name, bytes) in files {
        let length = u16::try_from(name.len()).map_err(|_| too_large(name))?;
        let size = u32::try_from(bytes.len()).ok().filter(|n| *n <= FILE_BYTES_MAX);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(&size.ok_or_else(|| too_large(name))?.to_le_bytes());
        out.extend_from_slice(bytes);
    }
    let sum = crate::record::checksum(Revision(0), &out);
    out.extend_from_slice(&sum.to_le_bytes());
    Ok(out)
}

/// The files behind the end of a backup that was read to its end; none where it ends there.
fn attached<R: Read>(reader: &mut Reader<'_, R>) -> Result<Vec<Attachment>, Error> {
    reader.record.clear();
    let mut magic = [0; 8];
    match reader.from.read(&mut magic[..1]) {
        Ok(0) => return Ok(Vec::new()),
        Ok(_) => reader.exact(&mut magic[1..])?,
        Err(why) => return Err(Error::io("read the backup")(why)),
    }
    if &magic != FILES_MAGIC {
        return Err(broken("there is something behind its end"));
    }
    reader.record.extend_from_slice(&magic);
    let count = u32::from_le_bytes(reader.kept()?);
    if count > FILES_MAX {
        return Err(broken("it has more files than any can have"));
    }
    let mut files = Vec::new();
    for _ in 0..count {
        let name = reader.text()?;
        let size = u32::from_le_bytes(reader.kept()?);
        if size > FILE_BYTES_MAX {
            return Err(broken("a file is longer than any can be"));
        }
        files.push((name, reader.bytes(size as usize)?));
    }
    if u64::from_le_bytes(reader.array()?) != crate::record::checksum(Revision(0), &reader.record) {
        return Err(broken("the checksum of its files does not match"));
    }
    Ok(files)
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Live objects by resource.
    pub live: BTreeMap<Arc<str>, usize>,
    /// Records on disk, those of history included; of a backup, its objects.
    pub records: usize,
    /// Newest revision.
    pub head: Revision,
    /// Files of a backup beside its objects.
    pub files: Vec<Attachment>,
}

impl Census {
    /// Live objects of all resources.
    pub fn objects(&self) -> usize {
        self.live.values().sum()
    }

    fn count(&mut self, key: &Key) {
        *self.live.entry(key.resource.clone()).or_default() += 1;
    }
}

/// Says what is wrong with a body, if anything is; the store itself does not know what bodies are.
pub type Check<'a> = &'a dyn Fn(&Key, &[u8]) -> Result<(), String>;

impl DataDir {
    /// Reads every record of this directory: checksums, order, meaning, and each body by `check`. Changes nothing.
    ///
    /// # Errors
    /// `Corrupt` names the first record that is wrong.
    pub fn verify(&self, check: Check<'_>) -> Result<Census, Error> {
        let mut found = Census::default();
        let live = self.live(&mut found)?;
        for stored in &live {
            let plain = stored.body.unpack().map_err(|e| damaged(&stored.key, &e.to_string()))?;
            check(&stored.key, &plain).map_err(|why| damaged(&stored.key, &why))?;
            found.count(&stored.key);
        }
        Ok(found)
    }

    /// Writes a backup of this directory, which nobody else may use meanwhile.
    ///
    /// # Errors
    /// When the directory is damaged or `out` refuses.
    pub fn backup(&self, out: &mut dyn Write) -> Result<Census, Error> {
        let mut found = Census::default();
        let live = self.live(&mut found)?;
        write_all(Parts::new(live, found.head), out)
    }

    /// The live objects, in order of revision.
    fn live(&self, found: &mut Census) -> Result<Vec<Arc<Stored>>, Error> {
        let mut engine = self.engine()?;
        let mut restore = None;
        let what = self.path().display().to_string();
        engine.replay(&mut |replayed| {
            match replayed {
                Replayed::Floor(floor) => restore = Some(Restore::new(Window::default(), floor)),
                Replayed::Record(record) => {
                    found.records += 1;
                    let restore = restore.get_or_insert_with(|| Restore::new(Window::default(), Revision(0)));
                    restore.load(record, |_, _| Row::default()).map_err(|why| {
                        crate::EngineError::Corrupt { what: what.clone(), why: why.to_string() }
                    })?;
                }
            }
            Ok(())
        })?;
        let Some(restore) = restore else { return Ok(Vec::new()) };
        let (mvcc, _) = restore.finish();
        found.head = mvcc.head();
        let mut live = Vec::new();
        for resource in mvcc.resources().map(|(r, _)| r.clone()).collect::<Vec<_>>() {
            let range = KeyRange { resource, namespace: None };
            live.extend(mvcc.list(&range, None, None, 0, None)?.items);
        }
        live.sort_by_key(|stored| stored.revision);
        Ok(live)
    }

    /// Fills this empty directory from a backup, all of it or nothing; the store will go on far above every revision in it.
    ///
    /// # Errors
    /// `Occupied` when there is data already, `Corrupt` when the backup is damaged or cut short; then nothing was written.
    pub fn restore(&self, from: &mut (impl Read + Seek)) -> Result<Census, Error> {
        let found = read_backup(from, |_| Ok(()))?;
        let mut engine = self.engine()?;
        let mut is_empty = true;
        engine.replay(&mut |replayed| {
            is_empty &= matches!(replayed, Replayed::Floor(Revision(0)));
            Ok(())
        })?;
        if !is_empty {
            return Err(Error::Occupied { dir: self.path().to_owned() });
        }
        from.seek(SeekFrom::Start(0)).map_err(Error::io("read the backup again"))?;
        let mut batch = Vec::with_capacity(BATCH);
        read_backup(from, |record| {
            batch.push(record);
            if batch.len() == BATCH {
                engine.append(&batch)?;
                batch.clear();
            }
            Ok(())
        })?;
        engine.append(&batch)?;
        engine.truncate(&[], Revision(found.head.0 + JUMP))?;
        engine.sync()?;
        Ok(found)
    }
}

impl Store {
    /// A backup of this moment in parts, for a store that goes on meanwhile.
    ///
    /// # Errors
    /// When the state cannot be listed.
    pub fn backup(&self) -> Result<Parts, Error> {
        let head = self.revision();
        let mut live = Vec::new();
        for (resource, _) in self.resources() {
            let range = KeyRange { resource, namespace: None };
            live.extend(self.list(&range, Some(head), None, 0, None)?.items);
        }
        live.sort_by_key(|stored| stored.revision);
        Ok(Parts::new(live, head))
    }
}

/// Checks a backup from its first to its last byte.
///
/// # Errors
/// `Corrupt` when it is damaged, cut short or no backup at all.
pub fn verify_backup(from: &mut impl Read) -> Result<Census, Error> {
    read_backup(from, |_| Ok(()))
}

fn damaged(key: &Key, why: &str) -> Error {
    let what = format!("{} {}/{}", key.resource, key.namespace, key.name);
    crate::EngineError::Corrupt { what, why: why.to_owned() }.into()
}

fn write_all(parts: Parts, out: &mut dyn Write) -> Result<Census, Error> {
    let mut found = Census { head: parts.head, records: parts.live.len(), ..Census::default() };
    for stored in &parts.live {
        found.count(&stored.key);
    }
    for part in parts {
        out.write_all(&part?).map_err(Error::io("write the backup"))?;
    }
    out.flush().map_err(Error::io("write the backup"))?;
    Ok(found)
}

/// A backup in parts of moderate size; the objects of its moment are held until they are written.
pub struct Parts {
    live: Vec<Arc<Stored>>,
    head: Revision,
    at: usize,
    sum: u64,
    is_over: bool,
}

impl Parts {
    fn new(live: Vec<Arc<Stored>>, head: Revision) -> Parts {
        Parts { live, head, at: 0, sum: sum_of(head), is_over: false }
    }
}

impl Iterator for Parts {
    type Item = Result<Vec<u8>, Error>;

    fn next(&mut self) -> Option<Result<Vec<u8>, Error>> {
        if self.is_over {
            return None;
        }
        let mut out = Vec::new();
        if self.at == 0 {
            out.extend_from_slice(MAGIC);
            out.extend_from_slice(&FORMAT.to_le_bytes());
            out.extend_from_slice(&self.head.0.to_le_bytes());
        }
        let end = (self.at + BATCH).min(self.live.len());
        for stored in &self.live[self.at..end] {
            match write_record(&mut out, stored) {
                Ok(sum) => self.sum = self.sum.wrapping_add(sum),
                Err(why) => {
                    self.is_over = true;
                    return Some(Err(why));
                }
            }
        }
        self.at = end;
        if end == self.live.len() {
            self.is_over = true;
            for number in [0, end as u64, self.sum] {
                out.extend_from_slice(&number.to_le_bytes());
            }
        }
        Some(Ok(out))
    }
}

/// What the sum of checksums starts with.
fn sum_of(head: Revision) -> u64 {
    crate::record::checksum(head, MAGIC)
}

fn write_record(out: &mut Vec<u8>, stored: &Stored) -> Result<u64, Error> {
    let plain = stored.body.unpack().map_err(|e| damaged(&stored.key, &e.to_string()))?;
    let start = out.len();
    out.extend_from_slice(&stored.revision.0.to_le_bytes());
    for part in [&stored.key.resource, &stored.key.namespace, &stored.key.name] {
        let length = u16::try_from(part.len()).expect("names are far shorter than 64 KiB");
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(part.as_bytes());
    }
    let length = u32::try_from(plain.len()).expect("bodies are far shorter than 4 GiB");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&plain);
    let sum = crate::record::checksum(stored.revision, &out[start..]);
    out.extend_from_slice(&sum.to_le_bytes());
    Ok(sum)
}

/// Reads a backup to its end; `sink` gets the records in order of revision.
fn read_backup(
    from: &mut impl Read,
    mut sink: impl FnMut(Record) -> Result<(), Error>,
) -> Result<Census, Error> {
    let mut reader = Reader { from, record: Vec::new() };
    let mut magic = [0; 8];
    reader.exact(&mut magic)?;
    if &magic != MAGIC {
        return Err(broken("it does not begin like a backup"));
    }
    let format = u32::from_le_bytes(reader.array()?);
    if format == 0 || format > FORMAT {
        return Err(broken(&format!("its format is {format}, known up to {FORMAT}: use the newer release")));
    }
    let mut found = Census { head: Revision(u64::from_le_bytes(reader.array()?)), ..Census::default() };
    let (mut sum, mut last) = (sum_of(found.head), Revision(0));
    loop {
        reader.record.clear();
        let revision = Revision(u64::from_le_bytes(reader.kept()?));
        if revision == Revision(0) {
            break;
        }
        let (key, body) = reader.record()?;
        let own = crate::record::checksum(revision, &reader.record);
        if u64::from_le_bytes(reader.array()?) != own {
            return Err(broken(&format!("the checksum of record {revision} does not match")));
        }
        if revision <= last || revision > found.head {
            return Err(broken(&format!("record {revision} is out of order")));
        }
        (last, sum) = (revision, sum.wrapping_add(own));
        found.records += 1;
        found.count(&key);
        sink(Record { revision, key, is_delete: false, body: Some(Body::pack(&body)) })?;
    }
    let (count, total) = (u64::from_le_bytes(reader.array()?), u64::from_le_bytes(reader.array()?));
    if count != found.records as u64 || total != sum {
        return Err(broken("its end does not fit its records"));
    }
    found.files = attached(&mut reader)?;
    Ok(found)
}

fn broken(why: &str) -> Error {
    Error::Corrupt {
        what: "the backup".to_owned(),
        why: why.to_owned(),
        remedy: "Use another backup".to_owned(),
    }
}

struct Reader<'r, R> {
    from: &'r mut R,
    /// The bytes of the record that is being read.
    record: Vec<u8>,
}

impl<R: Read> Reader<'_, R> {
    fn exact(&mut self, into: &mut [u8]) -> Result<(), Error> {
        self.from.read_exact(into).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => broken("it is cut short"),
            _ => Error::io("read the backup")(e),
        })
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        self.exact(&mut bytes)?;
        Ok(bytes)
    }

    /// The same, as a part of the record.
    fn kept<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let bytes = self.array()?;
        self.record.extend_from_slice(&bytes);
        Ok(bytes)
    }

    /// So many bytes. What a damaged length promises and the file does not hold takes no memory.
    fn bytes(&mut self, length: usize) -> Result<Vec<u8>, Error> {
        let start = self.record.len();
        let mut part = (&mut *self.from).take(length as u64);
        part.read_to_end(&mut self.record).map_err(Error::io("read the backup"))?;
        let bytes = &self.record[start..];
        if bytes.len() == length { Ok(bytes.to_vec()) } else { Err(broken("it is cut short")) }
    }

    fn text(&mut self) -> Result<String, Error> {
        let length = usize::from(u16::from_le_bytes(self.kept()?));
        String::from_utf8(self.bytes(length)?).map_err(|_| broken("a name is no text"))
    }

    fn record(&mut self) -> Result<(Key, Vec<u8>), Error> {
        let (resource, namespace, name) = (self.text()?, self.text()?, self.text()?);
        let length = u32::from_le_bytes(self.kept()?);
        if length > BODY_BYTES_MAX {
            return Err(broken("a body is longer than any can be"));
        }
        let body = self.bytes(length as usize)?;
        Ok((Key::new(&resource, &namespace, &name), body))
    }
}
