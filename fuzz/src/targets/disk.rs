//! What comes from disk: packed bodies, records, the order they are restored in, and backups.

use futures_util::FutureExt;
use store::{Body, Expect, Key, Op, Record, Revision, Row, Window};
use store_mvcc::Restore;

use super::{Target, seeds};

pub(super) fn targets() -> Vec<Target> {
    vec![
        Target {
            name: "body",
            run: body,
            seeds: || {
                let pod = br#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","namespace":"b","uid":"c"},"spec":{"containers":[{"name":"a","image":"b"}]}}"#;
                let packed = Body::pack(pod).packed().to_vec();
                vec![packed, pod.to_vec(), b"\0raw".to_vec(), b"\x01\x03\0\0\0\x30abc".to_vec()]
            },
            words: &["\u{1}", "\u{2}\u{1}", "\"metadata\":{", "\"spec\":{", "{\"apiVersion\":\"v1\""],
        },
        Target {
            name: "record",
            run: record,
            seeds: || {
                let key = Key::new("pods", "shop", "web-0");
                let put =
                    Record { revision: Revision(7), key, is_delete: false, body: Some(Body::pack(b"{}")) };
                vec![store::record::encode(&put), Vec::new()]
            },
            words: &["pods", "\u{4}\0"],
        },
        Target {
            name: "restore",
            run: restore,
            seeds: || seeds(&["\u{1}\0\u{1}aa\u{1}ba\u{3}a-\u{1}a\u{1}", "\u{5}\u{1}a\u{1}b\u{1}c\u{3}a"]),
            words: &["a"],
        },
        Target {
            name: "backup",
            run: backup,
            seeds: || vec![backup_of_two(), b"KNARRBAK\x01\0\0\0".to_vec()],
            words: &["KNARRBAK", "pods", "{}", "\u{2}\0\0\0"],
        },
    ]
}

/// What is packed comes back, and what somebody else packed comes back or is damaged.
fn body(data: &[u8]) {
    assert_eq!(Body::pack(data).unpack().as_deref(), Ok(data));
    if let Ok(plain) = Body::from_packed(data).unpack() {
        assert_eq!(Body::pack(&plain).unpack(), Ok(plain));
    }
}

/// Bytes without their checksum get a good one, or no mutation would come behind it.
fn record(data: &[u8]) {
    let _ = store::record::decode(Revision(7), data);
    let mut sealed = vec![0; 8];
    sealed.extend_from_slice(data);
    sealed[..8].copy_from_slice(&store::record::checksum(Revision(7), data).to_le_bytes());
    if let Some(record) = store::record::decode(Revision(7), &sealed) {
        let written = store::record::encode(&record);
        assert_eq!(store::record::decode(Revision(7), &written), Some(record.clone()));
        let _ = record.body.map(|b| b.unpack());
    }
}

/// Records as they might stand on a damaged disk: each step of three bytes is one, after a floor.
fn restore(data: &[u8]) {
    let Some((floor, rest)) = data.split_first() else { return };
    let mut restore =
        Restore::new(Window { events_max: 4, ..Window::default() }, Revision(u64::from(floor % 8)));
    let mut revision = 0;
    for step in rest.chunks_exact(3) {
        revision += u64::from(step[0] % 4);
        let name = char::from(b'a' + step[1] % 4).to_string();
        let body = (step[2] & 2 == 0).then(|| Body::pack(&step[2..]));
        let record = Record {
            revision: Revision(revision),
            key: Key::new("pods", "n", &name),
            is_delete: step[2] & 1 == 1,
            body,
        };
        if restore.load(record, |_, _| Row::default()).is_err() {
            return;
        }
    }
    let (mvcc, dropped) = restore.finish();
    assert!(dropped.iter().all(|r| *r <= mvcc.head()), "what is dropped was there");
    assert!(mvcc.floor() <= mvcc.head());
}

fn backup(data: &[u8]) {
    if let Ok(found) = store::verify_backup(&mut &data[..]) {
        assert_eq!(found.objects(), found.records, "each record is one live object");
    }
}

/// A backup of two objects, made by a store.
fn backup_of_two() -> Vec<u8> {
    let store = crate::world::store(None);
    for name in ["a", "b"] {
        let op = Op::Put {
            key: Key::new("pods", "n", name),
            row: Row::default(),
            body: Body::pack(b"{\"a\":1}"),
            expect: Expect::Any,
        };
        store.write(op).now_or_never().expect("the driver runs inline").expect("memory has room");
    }
    let parts: Result<Vec<Vec<u8>>, _> = store.backup().expect("memory can be read").collect();
    parts.expect("what was packed can be unpacked").concat()
}
