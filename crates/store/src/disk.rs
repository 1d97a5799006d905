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

impl fmt::Debug for dyn Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}
