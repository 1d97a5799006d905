//! The data directory: who may use it, which format it has, where the store's file lies.

use std::cmp::Ordering;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::StorageBackend;
use redb::backends::FileBackend;
use rustix::fs::{FlockOperation, flock};

use crate::disk::Disk;
use crate::redb_engine::FORMAT;
use crate::{Error, Limits, Project, RedbEngine, Store};

/// A data directory that this process has for itself while the value lives.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Creates the directory if needed (mode 0700) and takes its lock.
    ///
    /// # Errors
    /// `Locked` when another process has it.
    pub fn open(path: &Path) -> Result<DataDir, Error> {
        let make = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        make.map_err(Error::io(format!("create data directory {}", path.display())))?;
        let file = path.join("lock");
        let opened =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&file);
        let mut lock = opened.map_err(Error::io(format!("open {}", file.display())))?;
        if let Err(why) = flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            if why != rustix::io::Errno::WOULDBLOCK {
                return Err(Error::io(format!("lock {}", file.display()))(why.into()));
            }
            let mut pid = String::new();
            let _ = lock.read_to_string(&mut pid);
            return Err(Error::Locked { dir: path.to_owned(), pid: pid.trim().parse().ok() });
        }
        let written = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
        written.map_err(Error::io(format!("write {}", file.display())))?;
        Ok(DataDir { path: path.to_owned(), _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The store's own folder within it.
    fn store_dir(&self) -> Result<PathBuf, Error> {
        let dir = self.path.join("store");
        let make = fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        make.map_err(Error::io(format!("create {}", dir.display())))?;
        Ok(dir)
    }

    /// Opens the durable engine in this directory.
    ///
    /// # Errors
    /// When the files are damaged, newer than this release, or cannot be read.
    pub fn engine(&self) -> Result<RedbEngine, Error> {
        let dir = self.store_dir()?;
        let file = dir.join("knarr.redb");
        check_format(&dir.join("format"), file.exists())?;
        Ok(RedbEngine::open(FileDisk { aside: dir.join("reserve"), file })?)
    }
}

/// A file of the real disk.
struct FileDisk {
    file: PathBuf,
    /// A file that only takes up room.
    aside: PathBuf,
}

impl Disk for FileDisk {
    fn open(&mut self) -> io::Result<Box<dyn StorageBackend>> {
        let mut options = OpenOptions::new();
        let opened =
            options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&self.file)?;
        sync_dir(&self.file)?;
        Ok(Box::new(FileBackend::new(opened).map_err(io::Error::other)?))
    }

    fn free_bytes(&mut self) -> u64 {
        // A system that cannot tell is asked to write, and answers then.
        rustix::fs::statvfs(&self.file).map_or(u64::MAX, |fs| fs.f_bavail.saturating_mul(fs.f_frsize))
    }

    fn set_aside(&mut self, bytes: u64) -> bool {
        if fs::metadata(&self.aside).is_ok_and(|m| m.len() == bytes) {
            return true;
        }
        let make = || -> io::Result<()> {
            let mut options = OpenOptions::new();
            let file = options.write(true).create(true).truncate(true).mode(0o600).open(&self.aside)?;
            // Blocks, not a length alone: a file with holes takes up nothing.
            Ok(rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes)?)
        };
        let made = make().is_ok();
        if !made {
            let _ = fs::remove_file(&self.aside);
        }
        made
    }

    fn give_back(&mut self) -> bool {
        fs::remove_file(&self.aside).is_ok()
    }

    fn name(&self) -> String {
        self.file.display().to_string()
    }
}

/// Opens the durable store of a data directory; the directory stays locked as long as `dir` lives.
///
/// # Errors
/// When the engine cannot be opened or its records make no sense.
pub fn open_dir(dir: &DataDir, project: Arc<dyn Project>, limits: Limits) -> Result<Store, Error> {
    Store::open(Box::new(dir.engine()?), project, limits)
}

/// Reads the format record; writes the present one for a directory without data, or with data of an older format.
fn check_format(file: &Path, has_data: bool) -> Result<(), Error> {
    let corrupt = |why: &str| Error::Corrupt {
        what: file.display().to_string(),
        why: why.to_owned(),
        remedy: format!("If the data beside it is of this release, write {FORMAT} into it"),
    };
    let write = || {
        let written = write_durably(file, &format!("{FORMAT}\n"));
        written.map_err(Error::io(format!("write {}", file.display())))
    };
    match fs::read_to_string(file) {
        Ok(text) => {
            let found: u64 = text.trim().parse().map_err(|_| corrupt("it is no number"))?;
            match found.cmp(&FORMAT) {
                Ordering::Greater => Err(Error::TooNew { file: file.to_owned(), found, known: FORMAT }),
                Ordering::Equal => Ok(()),
                // Before the first record of the new form, so that an older release refuses what it could not read.
                Ordering::Less => write(),
            }
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound && has_data => Err(corrupt("it is missing")),
        Err(e) if e.kind() == io::ErrorKind::NotFound => write(),
        Err(e) => Err(Error::io(format!("read {}", file.display()))(e)),
    }
}

fn write_durably(file: &Path, text: &str) -> io::Result<()> {
    let next = file.with_extension("next");
    let mut f = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&next)?;
    f.write_all(text.as_bytes())?;
    f.sync_all()?;
    fs::rename(&next, file)?;
    sync_dir(file)
}

/// Makes the name of a new file durable.
fn sync_dir(file: &Path) -> io::Result<()> {
    match file.parent() {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}
