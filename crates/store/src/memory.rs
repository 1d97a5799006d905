//! An engine that keeps its records in memory: for tests and simulations that need no disk faults.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use store_mvcc::{Record, Revision};

use crate::engine::{Engine, EngineError, Replayed, Sink};

#[derive(Default)]
struct Durable {
    records: BTreeMap<Revision, Record>,
    floor: Revision,
}

/// Memory that outlives an engine, as a disk outlives a process.
#[derive(Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<Durable>>);

impl MemoryDisk {
    fn lock(&self) -> MutexGuard<'_, Durable> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The engine over it. What was not synced is forgotten with the engine.
#[derive(Default)]
pub struct MemoryEngine {
    disk: MemoryDisk,
    gathered: Vec<Record>,
    dropped: Vec<Revision>,
    floor: Option<Revision>,
}

impl MemoryEngine {
    /// An engine that starts with what `disk` holds.
    pub fn new(disk: MemoryDisk) -> MemoryEngine {
        MemoryEngine { disk, ..MemoryEngine::default() }
    }
}

impl Engine for MemoryEngine {
    fn replay(&mut self, sink: Sink<'_>) -> Result<(), EngineError> {
        let durable = self.disk.lock();
        sink(Replayed::Floor(durable.floor))?;
        durable.records.values().try_for_each(|r| sink(Replayed::Record(r.clone())))
    }

    fn append(&mut self, batch: &[Record]) -> Result<(), EngineError> {
        self.gathered.extend_from_slice(batch);
        Ok(())
    }

    fn truncate(&mut self, dropped: &[Revision], floor: Revision) -> Result<(), EngineError> {
        self.dropped.extend_from_slice(dropped);
        self.floor = Some(floor);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), EngineError> {
        let mut durable = self.disk.lock();
        durable.records.extend(self.gathered.drain(..).map(|r| (r.revision, r)));
        for revision in self.dropped.drain(..) {
            durable.records.remove(&revision);
        }
        durable.floor = self.floor.unwrap_or(durable.floor);
        Ok(())
    }

    fn get(&mut self, revision: Revision) -> Result<Option<Record>, EngineError> {
        Ok(self.disk.lock().records.get(&revision).cloned())
    }
}
