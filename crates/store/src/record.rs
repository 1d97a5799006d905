//! Records as bytes: `checksum (u64), flags, key parts (u16 length each), body`.
//!
//! The engine below checks its pages only after a crash; the checksum here finds what rotted in between.

use store_mvcc::{Body, Key, Record, Revision};

const DELETE: u8 = 1;
const HAS_BODY: u8 = 2;

/// The bytes of a record; its revision is the key it is stored under.
///
/// # Panics
/// When a part of the key is longer than 64 KiB, which no name is.
pub fn encode(record: &Record) -> Vec<u8> {
    let body = record.body.as_ref().map_or(&[][..], Body::packed);
    let key = &record.key;
    let mut out =
        Vec::with_capacity(7 + key.resource.len() + key.namespace.len() + key.name.len() + body.len());
    let has_body = if record.body.is_some() { HAS_BODY } else { 0 };
    out.extend_from_slice(&[0; CHECKSUM_BYTES]);
    out.push(if record.is_delete { DELETE } else { 0 } | has_body);
    for part in [&key.resource, &key.namespace, &key.name] {
        let length = u16::try_from(part.len()).expect("names are far shorter than 64 KiB");
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(part.as_bytes());
    }
    out.extend_from_slice(body);
    let sum = checksum(record.revision, &out[CHECKSUM_BYTES..]);
    out[..CHECKSUM_BYTES].copy_from_slice(&sum.to_le_bytes());
    out
}

/// Reads what [`encode`] wrote under this revision; nothing when the bytes are damaged or another revision's.
pub fn decode(revision: Revision, bytes: &[u8]) -> Option<Record> {
    let (sum, bytes) = bytes.split_at_checked(CHECKSUM_BYTES)?;
    if sum != checksum(revision, bytes).to_le_bytes() {
        return None;
    }
    let (&flags, mut rest) = bytes.split_first()?;
    let mut part = || {
        let (length, tail) = rest.split_at_checked(2)?;
        let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
        let (text, tail) = tail.split_at_checked(length)?;
        rest = tail;
        std::str::from_utf8(text).ok()
    };
    let key = Key::new(part()?, part()?, part()?);
    let body = (flags & HAS_BODY != 0).then(|| Body::from_packed(rest));
    (flags <= (DELETE | HAS_BODY)).then_some(Record { revision, key, is_delete: flags & DELETE != 0, body })
}

const CHECKSUM_BYTES: usize = 8;

/// FNV-1a over words of eight bytes: every step is a bijection, so a change within one word is always found.
pub fn checksum(revision: Revision, bytes: &[u8]) -> u64 {
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let mix = |sum: u64, word: u64| (sum ^ word).wrapping_mul(PRIME).rotate_left(29);
    let words = bytes.chunks_exact(8);
    let mut last = [0; 8];
    last[..words.remainder().len()].copy_from_slice(words.remainder());
    let start = mix(mix(0xcbf2_9ce4_8422_2325, revision.0), bytes.len() as u64);
    let sum = words.fold(start, |sum, w| mix(sum, u64::from_le_bytes(w.try_into().expect("eight bytes"))));
    mix(sum, u64::from_le_bytes(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_as_it_was() {
        let key = Key::new("pods", "shop", "web-0");
        for (is_delete, body) in
            [(false, Some(Body::pack(b"{}"))), (true, None), (true, Some(Body::pack(b"")))]
        {
            let record = Record { revision: Revision(7), key: key.clone(), is_delete, body };
            assert_eq!(decode(Revision(7), &encode(&record)), Some(record));
        }
    }

    #[test]
    fn damaged_bytes_are_no_record() {
        let body = Some(Body::pack(b"{}"));
        let whole =
            encode(&Record { revision: Revision(7), key: Key::new("a", "b", "c"), is_delete: false, body });
        for end in 0..whole.len() {
            assert_eq!(decode(Revision(7), &whole[..end]), None, "{end}");
        }
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(Revision(7), &flipped), None, "{bit}");
        }
        assert_eq!(decode(Revision(8), &whole), None, "a record under another revision");
    }
}
