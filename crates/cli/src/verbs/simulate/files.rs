//! Texts of files, packed by gzip or not.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail};

/// Largest text read, unpacked.
const BYTES_MAX: u64 = 2 << 30;
/// First bytes of a gzip file (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The text of a file; a gzip file is unpacked, whatever its name.
pub(super) fn text(path: &Path) -> anyhow::Result<String> {
    let shown = path.display();
    let bytes = std::fs::read(path).with_context(|| format!("read {shown}"))?;
    let mut text = String::new();
    let mut take = |from: &mut dyn Read| from.take(BYTES_MAX + 1).read_to_string(&mut text);
    match bytes.starts_with(&GZIP) {
        true => take(&mut flate2::read::MultiGzDecoder::new(&bytes[..])),
        false => take(&mut &bytes[..]),
    }
    .with_context(|| format!("read {shown}"))?;
    if text.len() as u64 > BYTES_MAX {
        bail!("read {shown}: it is larger than {} GiB", BYTES_MAX >> 30);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_and_plain_files_read_alike_and_broken_ones_are_named() {
        let dir = std::env::temp_dir().join(format!("knarr-files-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        // `printf 'a\nb\n' | gzip -n`
        let packed = [
            0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0x4b, 0xe4, 0x4a, 0xe2, 2, 0, 0x97, 0x2a, 0x57, 0x18, 4, 0,
            0, 0,
        ];
        for (name, bytes) in [("plain", &b"a\nb\n"[..]), ("packed", &packed[..]), ("cut", &packed[..14])] {
            std::fs::write(dir.join(name), bytes).unwrap();
        }
        assert_eq!(text(&dir.join("plain")).unwrap(), "a\nb\n");
        assert_eq!(text(&dir.join("packed")).unwrap(), "a\nb\n");
        for name in ["cut", "absent"] {
            assert!(text(&dir.join(name)).unwrap_err().to_string().contains(name));
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
