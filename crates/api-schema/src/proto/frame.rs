//! What stands around a message: the envelope, the frame of a watch event, the fields of a list.

use super::MAGIC;
use super::wire::{put_bytes, put_varint};

/// Ends every envelope: no content encoding, no content type.
const TAIL: [u8; 4] = [3 << 3 | 2, 0, 4 << 3 | 2, 0];

/// Puts the wrapper on.
pub fn seal(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let (mut out, tail) = seal_around(api_version, kind, raw.len());
    out.reserve(raw.len() + tail.len());
    out.extend_from_slice(raw);
    out.extend_from_slice(&tail);
    out
}

/// What stands before and after a message of `length` bytes in its wrapper, for messages that are sent in parts.
pub fn seal_around(api_version: &str, kind: &str, length: usize) -> (Vec<u8>, [u8; 4]) {
    let mut meta = Vec::with_capacity(64);
    put_bytes(&mut meta, 1, api_version.as_bytes());
    put_bytes(&mut meta, 2, kind.as_bytes());
    let mut out = MAGIC.to_vec();
    put_bytes(&mut out, 1, &meta);
    put_varint(&mut out, 2 << 3 | 2);
    put_varint(&mut out, length as u64);
    (out, TAIL)
}

/// Appends a field of bytes: an item of a list, the metadata of an object.
pub fn field(out: &mut Vec<u8>, tag: u32, bytes: &[u8]) {
    put_bytes(out, tag, bytes);
}

/// How many bytes [`field`] appends for `length` bytes under a tag below 16.
pub fn field_length(length: usize) -> usize {
    let mut head = Vec::with_capacity(10);
    put_varint(&mut head, length as u64);
    1 + head.len() + length
}

/// Appends a watch event: four bytes of length, most significant first, then `WatchEvent{type, object{raw}}` around an
/// object in its wrapper.
pub fn frame(out: &mut Vec<u8>, kind: &str, sealed: &[u8]) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    put_bytes(out, 1, kind.as_bytes());
    put_varint(out, 2 << 3 | 2);
    put_varint(out, field_length(sealed.len()) as u64);
    put_bytes(out, 1, sealed);
    let length = u32::try_from(out.len() - at - 4).unwrap_or(u32::MAX);
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_framed_as_go_frames_it() {
        let mut out = Vec::new();
        frame(&mut out, "ADDED", b"xyz");
        assert_eq!(out, b"\x00\x00\x00\x0e\x0a\x05ADDED\x12\x05\x0a\x03xyz");
    }

    #[test]
    fn lengths_are_told_before_they_are_written() {
        for length in [0, 1, 127, 128, 16_383, 16_384] {
            let mut out = Vec::new();
            field(&mut out, 2, &vec![7; length]);
            assert_eq!(out.len(), field_length(length));
        }
        let (head, tail) = seal_around("v1", "Pod", 3);
        assert_eq!([&head[..], b"abc", &tail].concat(), seal("v1", "Pod", b"abc"));
    }
}
