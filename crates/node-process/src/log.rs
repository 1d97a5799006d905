//! A container's log: lines in CRI format, in a file that never grows beyond its bound.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Mutex;

use crate::records::{InstanceDir, now};

/// Longest line written in one piece, as containerd's.
const LINE_BYTES_MAX: usize = 16 << 10;

/// Writes the log of one instance, for both of its streams.
pub(crate) struct LogWriter {
    state: Mutex<State>,
    path: PathBuf,
    old: PathBuf,
    bytes_max: u64,
}

struct State {
    file: File,
    written: u64,
}

impl LogWriter {
    pub(crate) fn open(dir: &InstanceDir, bytes_max: u64) -> io::Result<LogWriter> {
        let file = OpenOptions::new().create(true).append(true).open(dir.log())?;
        let written = file.metadata()?.len();
        Ok(LogWriter {
            state: Mutex::new(State { file, written }),
            path: dir.log(),
            old: dir.old_log(),
            bytes_max,
        })
    }

    /// Copies a stream line by line until it ends. A log that cannot be written is dropped, never the container.
    pub(crate) fn copy(&self, mut from: impl Read, stream: &str) {
        let mut buffer = Vec::new();
        let mut chunk = [0; 8 << 10];
        loop {
            let count = match from.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            buffer.extend_from_slice(&chunk[..count]);
            self.write_lines(&mut buffer, stream);
        }
        if !buffer.is_empty() {
            self.write(&buffer, stream, "F");
        }
    }

    fn write_lines(&self, buffer: &mut Vec<u8>, stream: &str) {
        let mut from = 0;
        while let Some(length) = buffer[from..].iter().position(|b| *b == b'\n') {
            let line = &buffer[from..from + length];
            let mut parts = line.chunks(LINE_BYTES_MAX).peekable();
            if parts.peek().is_none() {
                self.write(b"", stream, "F");
            }
            while let Some(part) = parts.next() {
                self.write(part, stream, if parts.peek().is_some() { "P" } else { "F" });
            }
            from += length + 1;
        }
        while buffer.len() - from > LINE_BYTES_MAX {
            self.write(&buffer[from..from + LINE_BYTES_MAX], stream, "P");
            from += LINE_BYTES_MAX;
        }
        buffer.drain(..from);
    }

    fn write(&self, text: &[u8], stream: &str, tag: &str) {
        // Nine digits, as CRI wants them; the clock here has six.
        let stamp = now().to_micro_string().replace('Z', "000Z");
        let mut line = format!("{stamp} {stream} {tag} ").into_bytes();
        line.extend_from_slice(text);
        line.push(b'\n');
        let Ok(mut state) = self.state.lock() else { return };
        if state.written + line.len() as u64 > self.bytes_max && state.written > 0 {
            let _ = self.rotate(&mut state);
        }
        if state.file.write_all(&line).is_ok() {
            state.written += line.len() as u64;
        }
    }

    fn rotate(&self, state: &mut State) -> io::Result<()> {
        std::fs::rename(&self.path, &self.old)?;
        state.file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        state.written = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(name: &str, bytes_max: u64, text: &[u8]) -> (String, Option<String>) {
        let dir = std::env::temp_dir().join(format!("knarr-log-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let dir = InstanceDir(dir);
        LogWriter::open(&dir, bytes_max).unwrap().copy(text, "stdout");
        let strip = |text: String| -> String {
            text.lines().map(|l| l.split_once(' ').unwrap().1.to_owned() + "\n").collect()
        };
        let log = strip(std::fs::read_to_string(dir.log()).unwrap());
        let old = std::fs::read_to_string(dir.old_log()).ok().map(strip);
        std::fs::remove_dir_all(&dir.0).unwrap();
        (log, old)
    }

    #[test]
    fn lines_keep_their_ends_and_the_last_needs_none() {
        assert_eq!(write("a", 1000, b"one\n\ntwo").0, "stdout F one\nstdout F \nstdout F two\n");
    }

    #[test]
    fn long_lines_come_in_parts() {
        let mut text = vec![b'x'; LINE_BYTES_MAX + 1];
        text.push(b'\n');
        let log = write("b", 1 << 20, &text).0;
        assert!(log.starts_with("stdout P xxx") && log.ends_with("\nstdout F x\n"));
        assert_eq!(log.lines().count(), 2);
    }

    #[test]
    fn a_full_log_is_rotated_once() {
        let (log, old) =
            write("c", 100, b"aaaaaaaaaaaaaaaaaaaaaaaa\nbbbbbbbbbbbbbbbbbbbbbb\ncccccccccccccccccccccc\n");
        assert_eq!(log, "stdout F cccccccccccccccccccccc\n");
        assert_eq!(old.as_deref(), Some("stdout F bbbbbbbbbbbbbbbbbbbbbb\n"));
    }
}
