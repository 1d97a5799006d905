//! What the durable engine needs of a disk: one file, and how much room there is.

use std::fmt;
use std::io;

use redb::StorageBackend;

/// A file that can be opened again and again, real or simulated.
pub trait Disk: Send {
    /// Opens the file, making it if it is not there.
    ///
    /// # Errors
    /// When the system refuses.
    fn open(&mut self) -> io::Result<Box<dyn StorageBackend>>;

    /// Bytes that the file may still grow by.
    fn free_bytes(&mut self) -> u64;

    /// Sets room aside that nobody else can take, if there is so much; says whether it is set aside now. Disks that cannot do
    /// this never do.
    fn set_aside(&mut self, bytes: u64) -> bool {
        let _ = bytes;
        false
    }

    /// Gives back what was set aside; says whether there was something.
    fn give_back(&mut self) -> bool {
        false
    }

    /// What messages call it.
    fn name(&self) -> String;
}

/// Lets a boxed backend be given where a type is asked for.
#[derive(Debug)]
pub(crate) struct Boxed(pub(crate) Box<dyn StorageBackend>);

impl StorageBackend for Boxed {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len).map_err(as_full)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data).map_err(as_full)
    }
    fn close(&self) -> io::Result<()> {
        self.0.close()
    }
}

/// A disk that refuses a write before any sync has taken nothing, and whatever it was refused for may pass: like a full one. Not so an
/// error of a sync, after which nobody knows what is there.
fn as_full(why: io::Error) -> io::Error {
    let is_refusal = why.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
        || matches!(why.kind(), io::ErrorKind::FileTooLarge | io::ErrorKind::ReadOnlyFilesystem);
    if !is_refusal {
        return why;
    }
    tracing::error!(%why, "the disk of the store refused a write");
    io::Error::new(io::ErrorKind::StorageFull, why)
}

impl fmt::Debug for dyn Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}
