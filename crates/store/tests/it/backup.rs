//! Backups: whole, checked, and restored without a version given twice.

use std::io::Cursor;
use std::sync::Arc;

use store::{
    Body, Census, DataDir, Error, Expect, Key, KeyRange, Limits, NoRow, Op, Revision, Row, Store, open_dir,
    verify_backup,
};

use crate::{TempDir, run};

fn open(dir: &DataDir) -> Store {
    open_dir(dir, Arc::new(NoRow), Limits::default().inline()).unwrap()
}

fn put(store: &Store, name: &str, body: &str) -> Revision {
    let key = Key::new("pods", "shop", name);
    let op = Op::Put { key, row: Row::default(), body: Body::pack(body.as_bytes()), expect: Expect::Any };
    run(store.write(op)).unwrap()
}

fn delete(store: &Store, name: &str) {
    let key = Key::new("pods", "shop", name);
    run(store.write(Op::Delete { key, expect: Expect::Any, last: None })).unwrap();
}

/// Name, version and body of every object.
fn objects(store: &Store) -> Vec<(String, u64, String)> {
    let range = KeyRange { resource: "pods".into(), namespace: None };
    let items = store.list(&range, None, None, 0, None).unwrap().items;
    let text = |body: &Body| String::from_utf8(body.unpack().unwrap().to_vec()).unwrap();
    items.iter().map(|s| (s.key.name.to_string(), s.revision.0, text(&s.body))).collect()
}

/// A store with changed and removed objects; what it holds, and its backup while it runs.
fn busy(dir: &DataDir) -> (Vec<(String, u64, String)>, Vec<u8>) {
    let store = open(dir);
    for i in 0..1_200 {
        put(&store, &format!("p{i:04}"), &format!("body {i}"));
    }
    for i in 0..400 {
        put(&store, &format!("p{i:04}"), "changed");
    }
    (300..500).for_each(|i| delete(&store, &format!("p{i:04}")));
    let bytes: Vec<u8> = store.backup().unwrap().flat_map(|part| part.unwrap()).collect();
    (objects(&store), bytes)
}

fn restored(name: &str, backup: &[u8]) -> (TempDir, DataDir, Census) {
    let temp = TempDir::new(name);
    let dir = DataDir::open(temp.path()).unwrap();
    let found = dir.restore(&mut Cursor::new(backup)).unwrap();
    (temp, dir, found)
}

#[test]
fn a_drill_brings_everything_back_and_no_version_comes_twice() {
    let temp = TempDir::new("backup-drill");
    let dir = DataDir::open(temp.path()).unwrap();
    let (before, bytes) = busy(&dir);
    // After the backup the cluster goes on, until it is lost.
    let store = open(&dir);
    let lost = put(&store, "after", "the backup");
    drop(store);
    let (_temp, dir, found) = restored("backup-drill-new", &bytes);
    assert_eq!((found.objects(), found.records), (before.len(), before.len()));
    let store = open(&dir);
    assert_eq!(objects(&store), before);
    assert!(store.revision() > lost);
    let next = put(&store, "new", "life");
    assert!(next > Revision(lost.0 + (1 << 31)), "{next}");
    let range = KeyRange { resource: "pods".into(), namespace: None };
    for from in [Revision(1), Revision(found.head.0), lost] {
        let cursor = store.watch(range.clone(), from);
        assert!(matches!(cursor, Err(Error::Compacted { .. })), "changes since {from} are gone");
    }
    drop(store);
    let store = open(&dir);
    assert_eq!(store.revision(), next, "and so it stays after a restart");
}

#[test]
fn a_backup_of_a_running_store_equals_one_of_the_files() {
    let temp = TempDir::new("backup-both");
    let dir = DataDir::open(temp.path()).unwrap();
    let (before, online) = busy(&dir);
    let mut offline = Vec::new();
    let found = dir.backup(&mut offline).unwrap();
    assert_eq!(offline, online);
    assert_eq!(found.objects(), before.len());
    assert_eq!(verify_backup(&mut Cursor::new(&online)).unwrap().objects(), before.len());
    let seen = dir.verify(&|_, _| Ok(())).unwrap();
    assert_eq!(seen.objects(), before.len());
    assert!(seen.records > before.len(), "history is read too");
}

#[test]
fn a_damaged_backup_is_refused_before_anything_is_written() {
    let temp = TempDir::new("backup-damaged");
    let dir = DataDir::open(temp.path()).unwrap();
    let (_, whole) = busy(&dir);
    let target = TempDir::new("backup-damaged-new");
    let dir = DataDir::open(target.path()).unwrap();
    let refused = |bytes: &[u8]| dir.restore(&mut Cursor::new(bytes)).unwrap_err().to_string();
    assert!(refused(b"").contains("cut short"));
    assert!(refused(b"something else entirely").contains("does not begin"));
    for end in [whole.len() - 1, whole.len() - 24, whole.len() / 2, 20] {
        assert!(refused(&whole[..end]).contains("damaged"), "{end}");
    }
    for at in (8..whole.len()).step_by(997) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        assert!(dir.restore(&mut Cursor::new(&flipped)).is_err(), "byte {at}");
    }
    assert_eq!(open(&dir).revision(), Revision(0), "nothing was written");
    dir.restore(&mut Cursor::new(&whole)).unwrap();
}

#[test]
fn a_length_that_the_backup_does_not_hold_is_refused() {
    let mut cut = b"KNARRBAK\x01\0\0\0\x02\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01\0p\0\0\x01\0a".to_vec();
    cut.extend_from_slice(&(60_u32 << 20).to_le_bytes());
    cut.extend_from_slice(b"{}");
    let refused = store::verify_backup(&mut cut.as_slice()).unwrap_err();
    assert!(refused.to_string().contains("cut short"), "{refused}");
}

#[test]
fn a_directory_with_data_is_not_restored_into() {
    let temp = TempDir::new("backup-occupied");
    let dir = DataDir::open(temp.path()).unwrap();
    let (_, bytes) = busy(&dir);
    let refused = dir.restore(&mut Cursor::new(&bytes)).unwrap_err();
    assert!(matches!(refused, Error::Occupied { .. }), "{refused}");
    let empty = TempDir::new("backup-empty");
    let dir = DataDir::open(empty.path()).unwrap();
    let mut nothing = Vec::new();
    assert_eq!(dir.backup(&mut nothing).unwrap().objects(), 0);
    assert_eq!(verify_backup(&mut Cursor::new(&nothing)).unwrap(), Census::default());
}

#[test]
fn what_a_body_should_be_is_asked_of_each() {
    let temp = TempDir::new("backup-check");
    let dir = DataDir::open(temp.path()).unwrap();
    put(&open(&dir), "odd", "body");
    let why = dir.verify(&|key, body| Err(format!("{} says {}", key.name, body.len()))).unwrap_err();
    assert!(why.to_string().contains("odd says 4"), "{why}");
}

#[test]
fn files_travel_behind_the_objects_and_damage_to_them_is_found() {
    let temp = TempDir::new("backup-files");
    let dir = DataDir::open(&temp.path().join("a")).unwrap();
    let mut saved = Vec::new();
    dir.backup(&mut saved).unwrap();
    let files = vec![("pki/ca.key".to_owned(), b"secret".to_vec()), ("pki/empty".to_owned(), Vec::new())];
    let plain = saved.len();
    saved.extend(store::attach(&files).unwrap());
    assert_eq!(store::verify_backup(&mut &saved[..]).unwrap().files, files);
    assert_eq!(store::verify_backup(&mut &saved[..plain]).unwrap().files, []);
    for at in plain..saved.len() {
        let mut rotten = saved.clone();
        rotten[at] ^= 4;
        assert!(store::verify_backup(&mut &rotten[..]).is_err(), "byte {at}");
        assert!(at == plain || store::verify_backup(&mut &saved[..at]).is_err(), "cut at {at}");
    }
    let large = vec![("x".to_owned(), vec![0; (1 << 20) + 1])];
    assert!(store::attach(&large).unwrap_err().to_string().contains("x cannot be part of it"));
}
