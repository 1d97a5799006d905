//! The data directory and what happens to it while nobody looks.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use store::{
    DataDir, EngineError, Error, Expect, Key, Limits, RedbEngine, Revision, SimDisk, Store, open_dir,
};

use crate::model::{FirstByte, put};
use crate::{TempDir, run};

pub(crate) fn file_engine(dir: &Path) -> RedbEngine {
    DataDir::open(dir).unwrap().engine().unwrap()
}

fn open(dir: &DataDir) -> Result<Store, Error> {
    open_dir(dir, Arc::new(FirstByte), Limits::default().inline())
}

#[test]
fn a_second_process_is_told_who_has_the_directory() {
    let temp = TempDir::new("locked");
    let first = DataDir::open(temp.path()).unwrap();
    let refused = DataDir::open(temp.path()).unwrap_err().to_string();
    assert!(refused.contains(&format!("in use by process {}", std::process::id())), "{refused}");
    drop(first);
    DataDir::open(temp.path()).unwrap();
}

#[test]
fn the_directory_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let temp = TempDir::new("mode");
    let dir = temp.path().join("data");
    let data = DataDir::open(&dir).unwrap();
    drop(open(&data).unwrap());
    let mode = |p: &Path| fs::metadata(p).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&dir.join("store/knarr.redb")), 0o600);
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let temp = TempDir::new("newer");
    let data = DataDir::open(temp.path()).unwrap();
    drop(open(&data).unwrap());
    fs::write(temp.path().join("store/format"), "3\n").unwrap();
    let refused = open(&data).map(|_| ()).unwrap_err();
    assert!(matches!(refused, Error::TooNew { found: 3, known: 2, .. }), "{refused}");
    assert!(refused.to_string().contains("use the newer release"));
}

/// A file as the first format left it: three pods, one of them changed, one deleted again; packed like a body. Made once, never again.
const FORMAT_1: &[u8] = include_bytes!("format-1.packed");

#[test]
fn a_directory_of_the_first_format_is_opened_brought_up_and_read_by_a_backup() {
    let temp = TempDir::new("format-1");
    let data = DataDir::open(temp.path()).unwrap();
    let dir = temp.path().join("store");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("knarr.redb"), store::Body::from_packed(FORMAT_1).unpack().unwrap()).unwrap();
    fs::write(dir.join("format"), "1\n").unwrap();
    let store = open(&data).unwrap();
    let page = store.list(&crate::model::range("pods", None), None, None, 0, None).unwrap();
    let pods: Vec<String> = page.items.iter().map(|s| format!("{} {}", s.key.name, s.revision)).collect();
    assert_eq!(pods, ["a 4", "b 2"]);
    let plain = page.items[1].body.unpack().unwrap();
    assert!(plain.starts_with(b"{\"kind\":\"Pod\""), "{}", String::from_utf8_lossy(&plain));
    // Its history is there, too: the deletion is seen by who watched from before.
    let mut watch = store.watch(crate::model::range("pods", None), Revision(2)).unwrap();
    assert_eq!(watch.try_next().unwrap().len(), 3);
    run(store.write(put(&Key::new("pods", "shop", "d"), b"new", Expect::Absent))).unwrap();
    drop((watch, store));
    assert_eq!(fs::read_to_string(dir.join("format")).unwrap(), "2\n");
    assert_eq!(data.verify(&|_, _| Ok(())).unwrap().objects(), 3);
    // The way back to an older release: a backup depends on no format of the disk.
    let mut saved = Vec::new();
    data.backup(&mut saved).unwrap();
    assert_eq!(store::verify_backup(&mut &saved[..]).unwrap().objects(), 3);
}

#[test]
fn a_directory_of_an_older_format_says_the_present_one_once_it_was_opened() {
    let temp = TempDir::new("older");
    let data = DataDir::open(temp.path()).unwrap();
    drop(open(&data).unwrap());
    let format = temp.path().join("store/format");
    fs::write(&format, "1\n").unwrap();
    drop(open(&data).unwrap());
    assert_eq!(fs::read_to_string(&format).unwrap(), "2\n");
}

#[test]
fn a_damaged_file_is_named_with_what_to_do() {
    let temp = TempDir::new("damaged");
    let data = DataDir::open(temp.path()).unwrap();
    let file = temp.path().join("store/knarr.redb");
    drop(open(&data).unwrap());
    fs::write(&file, b"not a database at all, but long enough to be looked at").unwrap();
    let refused = open(&data).map(|_| ()).unwrap_err().to_string();
    assert!(refused.contains(&file.display().to_string()), "{refused}");
    assert!(refused.contains("Restore the data directory from a backup"), "{refused}");
}

/// A clean image with a few hundred records.
fn image() -> Vec<u8> {
    let disk = SimDisk::new(1);
    let engine = RedbEngine::open(disk.clone()).unwrap();
    let store = Store::open(Box::new(engine), Arc::new(FirstByte), Limits::default().inline()).unwrap();
    for n in 0..200 {
        let key = Key::new("pods", "shop", &format!("p{n}"));
        run(store.write(put(&key, format!("{n}").repeat(300).as_bytes(), Expect::Absent))).unwrap();
    }
    drop(store);
    disk.image()
}

fn reopen(image: Vec<u8>) -> Result<Store, Error> {
    let disk = SimDisk::new(2);
    disk.set_image(image);
    let engine = RedbEngine::open(disk).map_err(Error::from)?;
    Store::open(Box::new(engine), Arc::new(FirstByte), Limits::default().inline())
}

#[test]
fn a_short_file_is_refused_or_whole() {
    let whole = image();
    for percent in [0, 1, 10, 30, 60, 90, 99] {
        let cut = whole[..whole.len() * percent / 100].to_vec();
        match reopen(cut) {
            Ok(store) if percent == 0 => assert_eq!(store.revision(), Revision(0)),
            Ok(store) => assert_eq!(store.stats().objects, 200, "cut to {percent} %"),
            Err(Error::Corrupt { .. }) => {}
            Err(other) => panic!("cut to {percent} %: {other}"),
        }
    }
}

#[test]
fn rotten_bits_are_found_or_harmless() {
    use stdx::{Rng, SeededRng};
    let (whole, rng) = (image(), SeededRng::new(3));
    let mut refused = 0;
    for _ in 0..200 {
        let mut rotten = whole.clone();
        for _ in 0..20 {
            let at = rng.next_u64() as usize % rotten.len();
            rotten[at] ^= 1 << (rng.next_u64() % 8);
        }
        match reopen(rotten) {
            Ok(store) => {
                let page = store.list(&crate::model::range("pods", None), None, None, 0, None).unwrap();
                assert_eq!(page.items.len(), 200);
                for stored in &page.items {
                    let n = &stored.key.name[1..];
                    assert_eq!(stored.body.unpack().unwrap(), n.repeat(300).as_bytes());
                }
            }
            Err(Error::Corrupt { .. }) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(refused > 0, "the damage was never where it matters");
}

#[test]
fn an_engine_that_failed_says_so_from_then_on() {
    let disk = SimDisk::new(1);
    let engine = RedbEngine::open(disk.clone()).unwrap();
    let store = Store::open(Box::new(engine), Arc::new(FirstByte), Limits::default().inline()).unwrap();
    let key = |n: u32| Key::new("pods", "shop", &format!("p{n}"));
    run(async {
        store.write(put(&key(0), b"0", Expect::Any)).await.unwrap();
        disk.fail_sync_in(0);
        let unknown = store.write(put(&key(1), b"1", Expect::Any)).await.unwrap_err();
        assert!(matches!(unknown, Error::Unknown(_)), "{unknown}");
        assert!(store.get(&key(1)).is_none(), "what may not be durable is not shown");
        let fatal = store.write(put(&key(2), b"2", Expect::Any)).await.unwrap_err();
        assert!(matches!(fatal, Error::Fatal(_)), "{fatal}");
        assert!(matches!(store.failed().await, Error::Fatal(_)));
        assert!(store.get(&key(0)).is_some(), "reads go on");
    });
    assert_eq!(EngineError::Full.to_string(), "no space left");
}
