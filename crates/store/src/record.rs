//! Records as bytes: `flags, key parts (u16 length each), body`.

use bytes::Bytes;
use store_mvcc::{Body, Key, Record, Revision};

const DELETE: u8 = 1;
const HAS_BODY: u8 = 2;

/// The bytes of a record; its revision is the key it is stored under.
pub(crate) fn encode(record: &Record) -> Vec<u8> {
    let body = record.body.as_ref().map_or(&[][..], |b| b.packed());
    let key = &record.key;
    let mut out =
        Vec::with_capacity(7 + key.resource.len() + key.namespace.len() + key.name.len() + body.len());
    let has_body = if record.body.is_some() { HAS_BODY } else { 0 };
    out.push(if record.is_delete { DELETE } else { 0 } | has_body);
    for part in [&key.resource, &key.namespace, &key.name] {
        let length = u16::try_from(part.len()).expect("names are far shorter than 64 KiB");
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(part.as_bytes());
    }
    out.extend_from_slice(body);
    out
}

/// Reads what [`encode`] wrote.
pub(crate) fn decode(revision: Revision, bytes: &[u8]) -> Option<Record> {
    let (&flags, mut rest) = bytes.split_first()?;
    let mut part = || {
        let (length, tail) = rest.split_at_checked(2)?;
        let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
        let (text, tail) = tail.split_at_checked(length)?;
        rest = tail;
        std::str::from_utf8(text).ok()
    };
    let key = Key::new(part()?, part()?, part()?);
    let body = (flags & HAS_BODY != 0).then(|| Body::from_packed(Bytes::copy_from_slice(rest)));
    (flags <= DELETE | HAS_BODY).then_some(Record { revision, key, is_delete: flags & DELETE != 0, body })
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
    fn cut_bytes_are_no_record() {
        let body = Some(Body::pack(b"{}"));
        let whole =
            encode(&Record { revision: Revision(7), key: Key::new("a", "b", "c"), is_delete: false, body });
        for end in 0..10 {
            assert_eq!(decode(Revision(7), &whole[..end]), None, "{end}");
        }
    }
}
