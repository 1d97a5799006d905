//! Where output goes.

use std::io::Write;

/// Data to one place, talk to another.
pub struct Io {
    /// Data.
    pub out: Box<dyn Write + Send>,
    /// Talk.
    pub err: Box<dyn Write + Send>,
}

impl Io {
    /// The terminal.
    pub fn terminal() -> Io {
        Io { out: Box::new(std::io::stdout()), err: Box::new(std::io::stderr()) }
    }

    /// Writes data. A reader that went away is no fault of ours: the rest is dropped.
    pub fn say(&mut self, text: &str) {
        let _ = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
    }

    /// Writes a line of talk.
    pub fn tell(&mut self, line: &str) {
        let _ = writeln!(self.err, "{line}");
    }
}
