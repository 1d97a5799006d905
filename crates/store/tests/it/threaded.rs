//! The driver on its own thread: many writers, slow disk, nothing shown early.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use store::{Engine, EngineError, Expect, Key, Limits, MemoryEngine, Record, Revision, Sink, Store};

use crate::model::{FirstByte, put, range};

/// Counts syncs, takes its time, and remembers what is durable.
struct Slow {
    inner: MemoryEngine,
    gathered: u64,
    durable: Arc<AtomicU64>,
    syncs: Arc<AtomicU64>,
}

impl Engine for Slow {
    fn replay(&mut self, sink: Sink<'_>) -> Result<(), EngineError> {
        self.inner.replay(sink)
    }
    fn append(&mut self, batch: &[Record]) -> Result<(), EngineError> {
        self.gathered = batch.last().map_or(self.gathered, |r| r.revision.0);
        self.inner.append(batch)
    }
    fn truncate(&mut self, dropped: &[Revision], floor: Revision) -> Result<(), EngineError> {
        self.inner.truncate(dropped, floor)
    }
    fn sync(&mut self) -> Result<(), EngineError> {
        std::thread::sleep(Duration::from_millis(2));
        self.inner.sync()?;
        self.syncs.fetch_add(1, Ordering::SeqCst);
        self.durable.store(self.gathered, Ordering::SeqCst);
        Ok(())
    }
    fn get(&mut self, revision: Revision) -> Result<Option<Record>, EngineError> {
        self.inner.get(revision)
    }
}

#[test]
fn writers_share_syncs_and_nothing_is_seen_before_it_is_durable() {
    let (durable, syncs) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let engine =
        Slow { inner: MemoryEngine::default(), gathered: 0, durable: durable.clone(), syncs: syncs.clone() };
    let store = Store::open(Box::new(engine), Arc::new(FirstByte), Limits::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let mut cursor = store.watch(range("pods", None), Revision(0)).unwrap();
        let (seen, known) = (store.clone(), durable.clone());
        let watcher = tokio::spawn(async move {
            let mut next = 1;
            while next <= 1000 {
                for event in cursor.next().await.unwrap() {
                    assert_eq!(event.revision, Revision(next), "in order, without gaps");
                    assert!(event.revision.0 <= known.load(Ordering::SeqCst), "shown before durable");
                    next += 1;
                }
                assert!(seen.revision().0 <= known.load(Ordering::SeqCst));
            }
        });
        let writers = (0..50).map(|w| {
            let (store, durable) = (store.clone(), durable.clone());
            tokio::spawn(async move {
                for n in 0..20 {
                    let key = Key::new("pods", "shop", &format!("p{w}-{n}"));
                    let revision = store.write(put(&key, b"x", Expect::Absent)).await.unwrap();
                    assert!(revision.0 <= durable.load(Ordering::SeqCst), "answered before durable");
                    assert_eq!(store.get(&key).unwrap().revision, revision, "a writer sees its own write");
                }
            })
        });
        let writers: Vec<_> = writers.collect();
        for writer in writers {
            writer.await.unwrap();
        }
        watcher.await.unwrap();
    });
    assert!(syncs.load(Ordering::SeqCst) < 500, "{} syncs for 1000 writes", syncs.load(Ordering::SeqCst));
}

#[test]
fn closing_writes_what_is_queued_and_ends_the_watches() {
    let store =
        Store::open(Box::new(MemoryEngine::default()), Arc::new(FirstByte), Limits::default()).unwrap();
    crate::run(async {
        let mut cursor = store.watch(range("pods", None), Revision(0)).unwrap();
        store.write(put(&Key::new("pods", "a", "b"), b"x", Expect::Absent)).await.unwrap();
        drop(store);
        assert_eq!(cursor.next().await.unwrap().len(), 1);
        assert!(matches!(cursor.next().await, Err(store::Error::Closed)));
    });
}
