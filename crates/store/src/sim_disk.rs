//! A disk that loses, tears and reorders what was not synced, and fails when told to.
//!
//! The model: a sync that succeeds makes everything before it durable, and keeps it so. At a crash every change since then is, each on its
//! own and in any order, kept, lost or torn at sectors. After a sync that fails, what it covered stays in doubt for ever, whatever later
//! syncs say (as Linux behaves). One seed decides everything.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;
use stdx::{Rng, SeededRng};

use crate::disk::Disk;

/// What is torn apart at a crash.
const SECTOR_BYTES: usize = 512;

#[derive(Clone)]
enum Change {
    Write { offset: usize, data: Vec<u8> },
    Length(usize),
}

struct State {
    rng: SeededRng,
    /// What a crash cannot touch.
    durable: Vec<u8>,
    /// What the process sees.
    seen: Vec<u8>,
    /// Changes whose fate is open.
    doubtful: Vec<Change>,
    /// Changes that the next sync will make durable.
    unsynced: Vec<Change>,
    /// Operations until the crash.
    crash_in: Option<u64>,
    /// Syncs until one fails.
    fail_sync_in: Option<u64>,
    sync_is_a_lie: bool,
    capacity: usize,
    /// Set aside.
    aside: usize,
    /// Writes that are refused with an error of the device.
    refused_writes: u64,
    /// Says that there is room when there is none.
    hides_its_end: bool,
    /// Counts restarts; files opened before the last one are dead.
    life: u64,
    operations: u64,
}

/// A simulated disk; clones are the same disk.
#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<State>>);

impl SimDisk {
    /// An empty disk; `seed` decides what crashes do.
    pub fn new(seed: u64) -> SimDisk {
        SimDisk(Arc::new(Mutex::new(State {
            rng: SeededRng::new(seed),
            durable: Vec::new(),
            seen: Vec::new(),
            doubtful: Vec::new(),
            unsynced: Vec::new(),
            crash_in: None,
            fail_sync_in: None,
            sync_is_a_lie: false,
            capacity: usize::MAX,
            aside: 0,
            refused_writes: 0,
            hides_its_end: false,
            life: 0,
            operations: 0,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Loses power before the operation that comes after `operations` more.
    pub fn crash_in(&self, operations: u64) {
        self.lock().crash_in = Some(operations);
    }

    /// Lets the sync that comes after `syncs` more fail.
    pub fn fail_sync_in(&self, syncs: u64) {
        self.lock().fail_sync_in = Some(syncs);
    }

    /// From now on syncs succeed and do nothing: a fault that no software survives, for testing the tests.
    pub fn lie_about_syncs(&self) {
        self.lock().sync_is_a_lie = true;
    }

    /// Sets how many bytes the file may have.
    pub fn set_capacity(&self, bytes: usize) {
        let mut s = self.lock();
        (s.capacity, s.hides_its_end) = (bytes, false);
    }

    /// Leaves only `slack` bytes beyond the end of the file, and does not tell.
    pub fn take_by_surprise(&self, slack: usize) {
        let mut s = self.lock();
        (s.capacity, s.hides_its_end) = (s.seen.len() + s.aside + slack, true);
    }

    /// Refuses the next `writes` writes with an error of the device, as a cable does that is loose.
    pub fn refuse_writes(&self, writes: u64) {
        self.lock().refused_writes = writes;
    }

    /// Whether power is lost.
    pub fn is_down(&self) -> bool {
        self.lock().crash_in == Some(0)
    }

    /// Operations so far.
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Loses power now, if it has not been lost yet, and comes back with what survived.
    pub fn restart(&self) {
        let mut s = self.lock();
        let mut open = std::mem::take(&mut s.doubtful);
        open.append(&mut s.unsynced);
        for i in (1..open.len()).rev() {
            let j = (s.rng.next_u64() % (i as u64 + 1)) as usize;
            open.swap(i, j);
        }
        let mut image = std::mem::take(&mut s.durable);
        for change in open {
            survive(&mut image, change, &s.rng);
        }
        s.durable.clone_from(&image);
        s.seen = image;
        s.crash_in = None;
        s.fail_sync_in = None;
        s.life += 1;
    }

    /// Bytes of the file as they would be found after a clean stop.
    pub fn image(&self) -> Vec<u8> {
        self.lock().seen.clone()
    }

    /// Puts other bytes in place of the file, as damage while nobody looked.
    pub fn set_image(&self, bytes: Vec<u8>) {
        let mut s = self.lock();
        (s.doubtful, s.unsynced) = (Vec::new(), Vec::new());
        s.durable.clone_from(&bytes);
        s.seen = bytes;
        s.life += 1;
    }
}

/// Lets one unsynced change meet the crash.
fn survive(image: &mut Vec<u8>, change: Change, rng: &SeededRng) {
    match (rng.next_u64() % 3, change) {
        (0, _) => {}
        (_, Change::Length(length)) => image.resize(length, 0),
        (1, Change::Write { offset, data }) => put(image, offset, &data),
        (_, Change::Write { offset, data }) => {
            for (i, sector) in data.chunks(SECTOR_BYTES).enumerate() {
                if rng.next_u64().is_multiple_of(2) {
                    put(image, offset + i * SECTOR_BYTES, sector);
                }
            }
        }
    }
}

fn put(image: &mut Vec<u8>, offset: usize, data: &[u8]) {
    if image.len() < offset + data.len() {
        image.resize(offset + data.len(), 0);
    }
    image[offset..offset + data.len()].copy_from_slice(data);
}

impl State {
    /// How long the file may be.
    fn limit(&self) -> usize {
        self.capacity.saturating_sub(self.aside)
    }

    /// Fails as long as writes are to be refused.
    fn accept(&mut self) -> io::Result<()> {
        if self.refused_writes == 0 {
            return Ok(());
        }
        self.refused_writes -= 1;
        Err(io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error()))
    }

    /// Counts an operation; fails when the power is, or is just now, lost.
    fn operate(&mut self, life: u64) -> io::Result<()> {
        if life != self.life || self.crash_in == Some(0) {
            return Err(io::Error::other("the simulated disk has lost power"));
        }
        self.operations += 1;
        if let Some(left) = &mut self.crash_in {
            *left -= 1;
        }
        Ok(())
    }
}

impl Disk for SimDisk {
    fn open(&mut self) -> io::Result<Box<dyn StorageBackend>> {
        let life = self.lock().life;
        Ok(Box::new(SimFile { disk: self.clone(), life }))
    }

    fn free_bytes(&mut self) -> u64 {
        let s = self.lock();
        if s.hides_its_end { u64::MAX } else { s.limit().saturating_sub(s.seen.len()) as u64 }
    }

    fn set_aside(&mut self, bytes: u64) -> bool {
        let mut s = self.lock();
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        if s.aside != bytes && s.capacity.saturating_sub(s.seen.len()) >= bytes {
            s.aside = bytes;
        }
        s.aside == bytes
    }

    fn give_back(&mut self) -> bool {
        std::mem::take(&mut self.lock().aside) > 0
    }

    fn name(&self) -> String {
        "simulated disk".to_owned()
    }
}

struct SimFile {
    disk: SimDisk,
    life: u64,
}

impl std::fmt::Debug for SimFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SimFile({})", self.life)
    }
}

fn index(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(io::Error::other)
}

impl StorageBackend for SimFile {
    fn len(&self) -> io::Result<u64> {
        let mut s = self.disk.lock();
        s.operate(self.life)?;
        Ok(s.seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut s = self.disk.lock();
        s.operate(self.life)?;
        let offset = index(offset)?;
        let part = s.seen.get(offset..offset + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(part);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut s = self.disk.lock();
        s.operate(self.life)?;
        let len = index(len)?;
        s.accept()?;
        if len > s.limit() && len > s.seen.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        s.seen.resize(len, 0);
        s.unsynced.push(Change::Length(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut s = self.disk.lock();
        s.operate(self.life)?;
        let covered = std::mem::take(&mut s.unsynced);
        match &mut s.fail_sync_in {
            Some(0) => {
                s.fail_sync_in = None;
                s.doubtful.extend(covered);
                return Err(io::Error::other("the simulated disk failed to sync"));
            }
            Some(left) => *left -= 1,
            None => {}
        }
        if s.sync_is_a_lie {
            s.doubtful.extend(covered);
            return Ok(());
        }
        let mut image = std::mem::take(&mut s.durable);
        for change in covered {
            match change {
                Change::Length(length) => image.resize(length, 0),
                Change::Write { offset, data } => put(&mut image, offset, &data),
            }
        }
        s.durable = image;
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut s = self.disk.lock();
        s.operate(self.life)?;
        let offset = index(offset)?;
        s.accept()?;
        if offset + data.len() > s.limit().max(s.seen.len()) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        put(&mut s.seen, offset, data);
        s.unsynced.push(Change::Write { offset, data: data.to_vec() });
        Ok(())
    }
}
