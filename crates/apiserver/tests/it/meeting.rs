//! Writers that meet: a disk that waits until all have read the same version.

use std::sync::{Arc, Condvar, Mutex};

use futures_util::future::join_all;
use serde_json::json;
use store::{Engine, EngineError, MemoryDisk, MemoryEngine, Record, Revision};

use crate::fixture::{MAPS, World, config_map};

/// Open, or shut until somebody opens it.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn shut(&self, is_shut: bool) {
        *self.0.0.lock().unwrap() = is_shut;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let shut = self.0.0.lock().unwrap();
        drop(self.0.1.wait_while(shut, |shut| *shut).unwrap());
    }
}

/// A disk behind a gate.
struct Gated(MemoryEngine, Gate);

impl Engine for Gated {
    fn replay(
        &mut self,
        sink: &mut dyn FnMut(store::Replayed) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        self.0.replay(sink)
    }

    fn append(&mut self, batch: &[Record]) -> Result<(), EngineError> {
        self.0.append(batch)
    }

    fn truncate(&mut self, dropped: &[Revision], floor: Revision) -> Result<(), EngineError> {
        self.0.truncate(dropped, floor)
    }

    fn sync(&mut self) -> Result<(), EngineError> {
        self.1.pass();
        self.0.sync()
    }

    fn get(&mut self, revision: Revision) -> Result<Option<Record>, EngineError> {
        self.0.get(revision)
    }
}

const WRITERS: usize = 20;

async fn world() -> (World, Gate) {
    let gate = Gate::default();
    let engine = Gated(MemoryEngine::new(MemoryDisk::default()), gate.clone());
    let w = World::over(Box::new(engine), store::Limits::default()).await;
    w.post(MAPS, config_map("a", "0")).await.created();
    (w, gate)
}

/// Starts one request per writer while the disk waits, then lets it go on.
async fn meet<F: Future>(gate: &Gate, requests: impl Iterator<Item = F>) -> Vec<F::Output> {
    gate.shut(true);
    let opener = async {
        // Every request was begun when this is polled: it comes last.
        gate.shut(false);
    };
    let (outcomes, ()) = futures_util::future::join(join_all(requests), opener).await;
    outcomes
}

#[tokio::test]
async fn all_get_through_when_they_name_no_version() {
    let (w, gate) = world().await;
    let path = format!("{MAPS}/a");
    let write = |i: usize| {
        let (w, path) = (w.clone(), path.clone());
        async move { w.patch(&path, "merge", json!({"data": {format!("k{i}"): "v"}})).await.ok() }
    };
    meet(&gate, (0..WRITERS).map(write)).await;
    let all = w.get(&path).await.ok();
    assert_eq!(all["data"].as_object().unwrap().len(), WRITERS + 1);
    let metrics = w.get("/metrics").await.text;
    assert!(!metrics.contains("knarr_apiserver_write_retries_total 0\n"), "nobody met anybody");
}

#[tokio::test]
async fn one_gets_through_when_all_name_the_version() {
    let (w, gate) = world().await;
    let path = format!("{MAPS}/a");
    let seen = w.get(&path).await.ok();
    let write = |i: usize| {
        let (w, path, mut object) = (w.clone(), path.clone(), seen.clone());
        object["data"]["k"] = json!(format!("from {i}"));
        async move { w.put(&path, object).await.code }
    };
    let mut codes = meet(&gate, (0..WRITERS).map(write)).await;
    codes.sort_unstable();
    assert_eq!((codes[0], codes[1], codes[WRITERS - 1]), (200, 409, 409));
}

#[tokio::test]
async fn one_creates_when_all_want_the_name() {
    let (w, gate) = world().await;
    let create = |i: usize| {
        let w = w.clone();
        async move { w.post(MAPS, config_map("b", &i.to_string())).await.code }
    };
    let mut codes = meet(&gate, (0..WRITERS).map(create)).await;
    codes.sort_unstable();
    assert_eq!((codes[0], codes[1], codes[WRITERS - 1]), (201, 409, 409));
}
