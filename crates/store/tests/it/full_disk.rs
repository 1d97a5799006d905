//! A full disk: nothing is lost, nothing is written, deletions make room.

use std::sync::Arc;

use store::{Error, Expect, Key, Limits, RedbEngine, SimDisk, Store, Window};

use crate::model::{FirstByte, delete, listed, put, range};
use crate::run;

fn open(disk: &SimDisk) -> Store {
    let engine = RedbEngine::open(disk.clone()).unwrap();
    let window = Window { events_max: 10, ..Window::default() };
    Store::open(Box::new(engine), Arc::new(FirstByte), Limits { window, ..Limits::default().inline() })
        .unwrap()
}

fn key(n: usize) -> Key {
    Key::new("pods", "shop", &format!("p{n:04}"))
}

/// Bytes that do not compress.
fn noise(n: usize) -> Vec<u8> {
    use stdx::{Rng, SeededRng};
    let rng = SeededRng::new(n as u64);
    (0..4096).flat_map(|_| rng.next_u64().to_le_bytes()).collect()
}

#[test]
fn a_full_disk_refuses_writes_before_it_is_touched_and_recovers_by_deletions() {
    let disk = SimDisk::new(1);
    let store = open(&disk);
    disk.set_capacity(24 << 20);
    let mut written = 0;
    let refused = loop {
        match run(store.write(put(&key(written), &noise(written), Expect::Absent))) {
            Ok(_) => written += 1,
            Err(why) => break why,
        }
    };
    assert!(matches!(refused, Error::Full), "{refused}");
    assert!(written > 10);
    let mixed = run(store.write_many(vec![
        put(&key(9000), b"x", Expect::Any),
        delete(&key(0), Expect::Any),
        delete(&key(9001), Expect::Any),
    ]));
    assert!(matches!(mixed[0], Err(Error::Full)));
    assert!(mixed[1].is_ok());
    assert!(matches!(mixed[2], Err(Error::Conflict { current: None })));
    let before = listed(&store, &[range("pods", None)], None).unwrap();
    drop(store);
    let store = open(&disk);
    assert_eq!(listed(&store, &[range("pods", None)], None).unwrap(), before);
    disk.set_capacity(200 << 20);
    run(store.write(put(&key(9000), b"x", Expect::Absent))).unwrap();
}

#[test]
fn running_out_of_room_within_a_commit_loses_nothing() {
    for slack in (0..600_000).step_by(37_001) {
        let disk = SimDisk::new(slack as u64);
        let store = open(&disk);
        for n in 0..20 {
            run(store.write(put(&key(n), &noise(n), Expect::Absent))).unwrap();
        }
        // The reserve is taken by somebody else: the engine meets the end of the disk unprepared.
        disk.take_by_surprise(slack);
        let mut outcomes = Vec::new();
        for n in 20..60 {
            outcomes.push(run(store.write(put(&key(n), &noise(n), Expect::Absent))));
        }
        let kept = 20 + outcomes.iter().filter(|o| o.is_ok()).count();
        assert!(outcomes.iter().all(|o| matches!(o, Ok(_) | Err(Error::Full))), "{outcomes:?}");
        assert!(kept < 60, "slack {slack} was room enough");
        let before = listed(&store, &[range("pods", None)], None).unwrap();
        assert_eq!(before.len(), kept);
        drop(store);
        disk.set_capacity(usize::MAX);
        let store = open(&disk);
        assert_eq!(listed(&store, &[range("pods", None)], None).unwrap(), before);
    }
}

#[test]
fn deletions_find_the_room_that_was_kept_for_them_when_others_take_the_rest() {
    let disk = SimDisk::new(7);
    let store = open(&disk);
    for n in 0..40 {
        run(store.write(put(&key(n), &noise(n), Expect::Absent))).unwrap();
    }
    // Somebody else writes the disk full to the last byte; what was set aside is out of their reach.
    disk.take_by_surprise(0);
    let mut n = 40;
    while run(store.write(put(&key(n), &noise(n), Expect::Absent))).is_ok() {
        n += 1;
        assert!(n < 200, "the disk never fills up");
    }
    assert!(store.is_read_only());
    for gone in 0..n {
        run(store.write(delete(&key(gone), Expect::Any))).unwrap();
    }
    assert!(listed(&store, &[range("pods", None)], None).unwrap().is_empty());
    drop(store);
    let store = open(&disk);
    assert!(listed(&store, &[range("pods", None)], None).unwrap().is_empty());
}

#[test]
fn deletions_make_room_for_writes_within_the_file() {
    let disk = SimDisk::new(8);
    let store = open(&disk);
    disk.set_capacity(24 << 20);
    let mut written = 0;
    while run(store.write(put(&key(written), &noise(written), Expect::Absent))).is_ok() {
        written += 1;
    }
    assert!(store.is_read_only());
    for gone in 0..written / 2 {
        run(store.write(delete(&key(gone), Expect::Any))).unwrap();
    }
    // History of ten events has let go of most of them by now.
    run(store.write(put(&key(5000), &noise(5000), Expect::Absent))).unwrap();
    assert!(!store.is_read_only());
    let before = listed(&store, &[range("pods", None)], None).unwrap();
    drop(store);
    assert_eq!(listed(&open(&disk), &[range("pods", None)], None).unwrap(), before);
}

#[test]
fn a_disk_that_refuses_writes_for_a_while_costs_no_restart_and_loses_nothing() {
    for seed in 0..40 {
        let disk = SimDisk::new(seed);
        let store = open(&disk);
        let mut kept = Vec::new();
        for n in 0..30 {
            if n % 7 == 3 {
                disk.refuse_writes(1 + seed % 5);
            }
            match run(store.write(put(&key(n), &noise(n), Expect::Absent))) {
                Ok(_) => kept.push(key(n)),
                Err(why) => assert!(matches!(why, Error::Full), "{why}"),
            }
        }
        assert!(kept.len() > 20 && kept.len() < 30, "seed {seed}: {}", kept.len());
        let shown = listed(&store, &[range("pods", None)], None).unwrap();
        assert_eq!(shown.len(), kept.len());
        drop(store);
        disk.restart();
        assert_eq!(listed(&open(&disk), &[range("pods", None)], None).unwrap(), shown, "seed {seed}");
    }
}
