//! What every engine must give the store, told once and run over each of them.

use std::sync::Arc;

use store::{
    Driving, Engine, Error, Expect, Key, Limits, MemoryDisk, MemoryEngine, RedbEngine, Revision, SimDisk,
    Store, Window,
};

use crate::files::file_engine;
use crate::model::{FirstByte, change_of, delete, listed, put, range};
use crate::{TempDir, run};

/// Gives an engine over the same storage each time it is called.
type Reopen = Box<dyn FnMut() -> Box<dyn Engine>>;

fn open(reopen: &mut Reopen, window: Window, driving: Driving) -> Store {
    Store::open(reopen(), Arc::new(FirstByte), Limits { window, driving, ..Limits::default() }).unwrap()
}

/// Runs a claim over every engine and both drivers.
fn everywhere(claim: fn(Reopen, Driving)) {
    for driving in [Driving::Inline, Driving::Thread] {
        let memory = MemoryDisk::default();
        claim(Box::new(move || Box::new(MemoryEngine::new(memory.clone()))), driving);
        let disk = SimDisk::new(1);
        claim(Box::new(move || Box::new(RedbEngine::open(disk.clone()).unwrap())), driving);
        let name = format!("contract-{driving:?}-{:?}", std::thread::current().id());
        let dir = TempDir::new(&name);
        let path = dir.path().to_owned();
        claim(Box::new(move || Box::new(file_engine(&path))), driving);
    }
}

#[test]
fn writes_are_read_back_and_preconditions_hold() {
    everywhere(|mut reopen, driving| {
        let store = open(&mut reopen, Window::default(), driving);
        let key = Key::new("pods", "shop", "a");
        run(async {
            assert_eq!(store.write(put(&key, b"1", Expect::Absent)).await.unwrap(), Revision(1));
            assert_eq!(store.get(&key).unwrap().revision, Revision(1));
            let clash = store.write(put(&key, b"2", Expect::Absent)).await.unwrap_err();
            assert!(matches!(clash, Error::Conflict { current: Some(c) } if c.revision == Revision(1)));
            assert_eq!(store.write(put(&key, b"2", Expect::At(Revision(1)))).await.unwrap(), Revision(2));
            let stale = store.write(delete(&key, Expect::At(Revision(1)))).await.unwrap_err();
            assert!(matches!(stale, Error::Conflict { current: Some(c) } if c.revision == Revision(2)));
            assert_eq!(store.write(delete(&key, Expect::Any)).await.unwrap(), Revision(3));
            assert!(store.get(&key).is_none());
            let gone = store.write(delete(&key, Expect::Any)).await.unwrap_err();
            assert!(matches!(gone, Error::Conflict { current: None }));
        });
    });
}

#[test]
fn operations_of_one_batch_see_each_other() {
    everywhere(|mut reopen, driving| {
        let store = open(&mut reopen, Window::default(), driving);
        let key = Key::new("pods", "shop", "a");
        let outcomes = run(store.write_many(vec![
            put(&key, b"1", Expect::Absent),
            put(&key, b"2", Expect::Absent),
            put(&key, b"3", Expect::At(Revision(1))),
            delete(&key, Expect::At(Revision(2))),
            put(&key, b"4", Expect::Absent),
        ]));
        let revisions: Vec<_> = outcomes.into_iter().map(|o| o.ok().map(|r| r.0)).collect();
        assert_eq!(revisions, [Some(1), None, Some(2), Some(3), Some(4)]);
        assert_eq!(store.get(&key).unwrap().body.unpack().unwrap().as_ref(), b"4");
    });
}

#[test]
fn pages_show_the_revision_they_began_with() {
    everywhere(|mut reopen, driving| {
        let store = open(&mut reopen, Window::default(), driving);
        let key = |n: &str| Key::new("pods", "shop", n);
        run(async {
            for name in ["a", "b", "c", "d"] {
                store.write(put(&key(name), name.as_bytes(), Expect::Absent)).await.unwrap();
            }
            let first = store.list(&range("pods", None), None, None, 2, None).unwrap();
            assert_eq!((first.revision, first.more, first.remaining), (Revision(4), true, Some(2)));
            store.write(delete(&key("c"), Expect::Any)).await.unwrap();
            store.write(put(&key("bb"), b"new", Expect::Absent)).await.unwrap();
            store.write(put(&key("d"), b"changed", Expect::Any)).await.unwrap();
            let after = first.items.last().map(|s| s.key.clone());
            let rest = store
                .list(&range("pods", Some("shop")), Some(first.revision), after.as_ref(), 9, None)
                .unwrap();
            let names: Vec<_> = rest.items.iter().map(|s| (&*s.key.name, s.revision.0)).collect();
            assert_eq!(names, [("c", 3), ("d", 4)]);
            assert!(!rest.more);
            let future = store.list(&range("pods", None), Some(Revision(99)), None, 0, None);
            assert!(matches!(future, Err(Error::Future { head: Revision(7) })));
        });
    });
}

#[test]
fn a_watch_resumes_across_a_restart_by_revision() {
    everywhere(|mut reopen, driving| {
        let store = open(&mut reopen, Window::default(), driving);
        let (a, b) = (Key::new("pods", "shop", "a"), Key::new("pods", "shop", "b"));
        run(async {
            store.write(put(&a, b"1", Expect::Absent)).await.unwrap();
            store.write(put(&b, b"1", Expect::Absent)).await.unwrap();
            store.write(put(&a, b"2", Expect::Any)).await.unwrap();
            store.write(delete(&b, Expect::Any)).await.unwrap();
        });
        let mut before = store.watch(range("pods", None), Revision(1)).unwrap();
        let events =
            |c: &mut store::Cursor| c.try_next().unwrap().iter().map(|e| change_of(e)).collect::<Vec<_>>();
        let told = events(&mut before);
        assert_eq!(told.len(), 3);
        drop((before, store));
        let store = open(&mut reopen, Window::default(), driving);
        assert_eq!(store.revision(), Revision(4));
        let mut after = store.watch(range("pods", None), Revision(1)).unwrap();
        assert_eq!(events(&mut after), told);
        assert_eq!(after.position(), Revision(4));
        assert_eq!(run(store.write(put(&b, b"3", Expect::Absent))).unwrap(), Revision(5));
        assert_eq!(run(after.next()).unwrap()[0].revision, Revision(5));
    });
}

#[test]
fn history_is_bounded_and_says_so() {
    everywhere(|mut reopen, driving| {
        let window = Window { events_max: 3, ..Window::default() };
        let store = open(&mut reopen, window, driving);
        let (key, quiet) = (Key::new("pods", "shop", "a"), Key::new("nodes", "", "n"));
        run(store.write(put(&quiet, b"n", Expect::Absent))).unwrap();
        let mut idle = store.watch(range("nodes", None), Revision(1)).unwrap();
        let mut slow = store.watch(range("pods", None), Revision(1)).unwrap();
        for n in 0..9u8 {
            run(store.write(put(&key, &[n], Expect::Any))).unwrap();
        }
        assert!(matches!(slow.try_next(), Err(Error::Compacted { oldest: Revision(7) })));
        assert!(matches!(store.watch(range("pods", None), Revision(6)), Err(Error::Compacted { .. })));
        assert!(store.list(&range("pods", None), Some(Revision(6)), None, 0, None).is_err());
        let past = listed(&store, &[range("pods", None)], Some(Revision(7))).unwrap();
        assert_eq!(past[&key], (Revision(7), vec![5]));
        assert!(idle.try_next().unwrap().is_empty(), "nothing of its range is missing");
        assert_eq!(idle.position(), Revision(10));
        drop((idle, slow, store));
        let store = open(&mut reopen, window, driving);
        assert_eq!(store.stats().floor, Revision(7));
        assert!(store.watch(range("pods", None), Revision(6)).is_err());
        let mut resumed = store.watch(range("pods", None), Revision(7)).unwrap();
        assert_eq!(resumed.try_next().unwrap().len(), 3);
    });
}

#[test]
fn revisions_are_not_reused_when_all_objects_and_history_are_gone() {
    everywhere(|mut reopen, driving| {
        let window = Window { events_max: 0, ..Window::default() };
        let store = open(&mut reopen, window, driving);
        let (key, other) = (Key::new("pods", "shop", "a"), Key::new("pods", "shop", "b"));
        run(async {
            store.write(put(&key, b"1", Expect::Absent)).await.unwrap();
            store.write(delete(&key, Expect::Any)).await.unwrap();
            store.write(put(&other, b"1", Expect::Absent)).await.unwrap();
            store.write(delete(&other, Expect::Any)).await.unwrap();
            drop(store);
        });
        let store = open(&mut reopen, window, driving);
        assert_eq!(store.revision(), Revision(4));
        assert_eq!(run(store.write(put(&key, b"2", Expect::Absent))).unwrap(), Revision(5));
    });
}

#[test]
fn lists_filter_by_row_and_count_what_is_left() {
    everywhere(|mut reopen, driving| {
        let store = open(&mut reopen, Window::default(), driving);
        for n in 0..10u8 {
            let key = Key::new("pods", if n < 7 { "one" } else { "two" }, &format!("p{n}"));
            run(store.write(put(&key, &[n % 2], Expect::Absent))).unwrap();
        }
        let odd = |s: &store::Stored| s.row.labels().get("first") == Some("1");
        let page = store.list(&range("pods", Some("one")), None, None, 2, Some(&odd)).unwrap();
        assert_eq!((page.items.len(), page.more, page.remaining), (2, true, None));
        let last = page.items.last().map(|s| s.key.clone());
        let rest = store.list(&range("pods", Some("one")), None, last.as_ref(), 2, Some(&odd)).unwrap();
        assert_eq!((rest.items.len(), rest.more), (1, false));
        let all = store.list(&range("pods", Some("one")), None, None, 2, None).unwrap();
        assert_eq!(all.remaining, Some(5));
        let next =
            store.list(&range("pods", Some("one")), None, all.items.last().map(|s| &s.key), 2, None).unwrap();
        assert_eq!(next.remaining, Some(3));
        assert_eq!(store.count(&range("pods", None)), 10);
    });
}

#[test]
fn a_cursor_that_follows_a_value_sees_what_comes_to_it_and_goes_from_it() {
    everywhere(|mut reopen, driving| {
        let store = open(&mut reopen, Window { events_max: 6, ..Window::default() }, driving);
        let put = |name: &str, node: &str| {
            let row = store::Row::new("u", [], [("spec.nodeName", node)]);
            let key = Key::new("pods", "shop", name);
            let op = store::Op::Put { key, row, body: store::Body::pack(b"{}"), expect: Expect::Any };
            run(store.write(op)).unwrap()
        };
        put("p", "a");
        let follow = |from| store.watch_touching(range("pods", None), "spec.nodeName", "a", from);
        let revisions =
            |c: &mut store::Cursor| c.try_next().unwrap().iter().map(|e| e.revision.0).collect::<Vec<_>>();
        let mut cursor = follow(Revision(0)).unwrap();
        put("p", "b");
        put("q", "b");
        put("r", "a");
        assert_eq!(revisions(&mut cursor), [1, 2, 4]);
        assert_eq!(cursor.position(), Revision(4));
        for _ in 0..20 {
            put("q", "c");
        }
        assert!(revisions(&mut cursor).is_empty(), "a thousand others are no reason to begin anew");
        assert_eq!(cursor.position(), Revision(24));
        assert!(matches!(follow(Revision(1)), Err(Error::Compacted { .. })));
        drop(cursor);
        assert!(
            matches!(follow(Revision(4)), Err(Error::Compacted { .. })),
            "what nobody follows is not kept apart"
        );
        assert!(follow(Revision(24)).is_ok());
    });
}
