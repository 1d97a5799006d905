//! The one writer: propose, append, sync, publish, answer.

use std::collections::BTreeSet;
use std::sync::Arc;

use store_mvcc::{Body, Key, Op, Record, Restore, Revision, Row};
use tokio::sync::{mpsc, oneshot};

use crate::Error;
use crate::engine::{Engine, EngineError, Replayed};
use crate::handle::{self, Limits, Project, Shared};

/// Operations of one caller.
pub(crate) struct Submission {
    pub(crate) ops: Vec<Op>,
    pub(crate) answer: oneshot::Sender<Vec<Result<Revision, Error>>>,
}

/// The owner of the engine.
pub(crate) struct Driver {
    shared: Arc<Shared>,
    engine: Box<dyn Engine>,
    /// Records that the next sync should remove.
    dropped: Vec<Revision>,
    broken: Option<Arc<str>>,
}

/// Rebuilds the committed state from the engine.
pub(crate) fn restore(
    mut engine: Box<dyn Engine>,
    project: &dyn Project,
    limits: Limits,
) -> Result<(Driver, Arc<Shared>), Error> {
    let mut state = Restore::new(limits.window, Revision(0));
    engine.replay(&mut |item| match item {
        Replayed::Floor(floor) => {
            state = Restore::new(limits.window, floor);
            Ok(())
        }
        Replayed::Record(record) => load(&mut state, record, project),
    })?;
    let (mvcc, dropped) = state.finish();
    let shared = handle::shared(mvcc, limits);
    Ok((Driver { shared: shared.clone(), engine, dropped, broken: None }, shared))
}

fn load(state: &mut Restore, record: Record, project: &dyn Project) -> Result<(), EngineError> {
    let corrupt = |why: String| EngineError::Corrupt { what: "the store's log".to_owned(), why };
    let mut damaged = None;
    let row = |key: &Key, body: &Body| match body.unpack() {
        Ok(plain) => project.row(key, &plain),
        Err(why) => {
            damaged = Some(format!("{} {}/{}: {why}", key.resource, key.namespace, key.name));
            Row::default()
        }
    };
    state.load(record, row).map_err(|why| corrupt(why.to_string()))?;
    damaged.map_or(Ok(()), |why| Err(corrupt(why)))
}

/// Serves submissions until all handles are gone.
pub(crate) fn run(mut driver: Driver, mut queue: mpsc::Receiver<Submission>, batch_max: usize) {
    while let Some(first) = queue.blocking_recv() {
        let mut count = first.ops.len();
        let mut batch = vec![first];
        while count < batch_max
            && let Ok(next) = queue.try_recv()
        {
            count += next.ops.len();
            batch.push(next);
        }
        let (sizes, ops): (Vec<_>, Vec<_>) =
            batch.iter_mut().map(|s| (s.ops.len(), std::mem::take(&mut s.ops))).unzip();
        let mut outcomes = driver.commit(ops.into_iter().flatten().collect()).into_iter();
        for (submission, size) in batch.into_iter().zip(sizes) {
            // A caller that no longer waits is no reason to stop.
            let _ = submission.answer.send(outcomes.by_ref().take(size).collect());
        }
    }
}

impl Driver {
    /// Commits a batch; gives one outcome per operation. Nothing is visible unless it is durable.
    pub(crate) fn commit(&mut self, ops: Vec<Op>) -> Vec<Result<Revision, Error>> {
        if let Some(why) = &self.broken {
            return ops.iter().map(|_| Err(Error::Fatal(why.clone()))).collect();
        }
        let count = ops.len();
        let deletions: Vec<(usize, Op)> = ops
            .iter()
            .enumerate()
            .filter(|(_, op)| matches!(op, Op::Delete { .. }))
            .map(|(i, op)| (i, op.clone()))
            .collect();
        match self.try_commit(ops) {
            Ok(outcomes) => {
                if deletions.len() < count {
                    self.shared.set_read_only(false);
                }
                outcomes
            }
            Err(EngineError::Full) if !deletions.is_empty() => self.commit_deletions(deletions, count),
            Err(why) => self.give_up(why, count),
        }
    }

    /// With a full disk: deletions alone, because they may make room; in the end with what was kept for them.
    fn commit_deletions(
        &mut self,
        deletions: Vec<(usize, Op)>,
        count: usize,
    ) -> Vec<Result<Revision, Error>> {
        let (places, ops): (Vec<usize>, Vec<Op>) = deletions.into_iter().unzip();
        let mut tried = self.try_commit(ops.clone());
        if matches!(tried, Err(EngineError::Full)) && self.engine.make_room() {
            tried = self.try_commit(ops);
        }
        let outcomes = match tried {
            Ok(outcomes) => outcomes,
            Err(why) => self.give_up(why, places.len()),
        };
        if places.len() < count {
            self.shared.set_read_only(true);
        }
        let mut all: Vec<_> = (0..count).map(|_| Err(Error::Full)).collect();
        for (place, outcome) in places.into_iter().zip(outcomes) {
            all[place] = outcome;
        }
        all
    }

    /// Answers a batch that failed as a whole; unless there was just no room, it was the last one.
    fn give_up(&mut self, why: EngineError, count: usize) -> Vec<Result<Revision, Error>> {
        if why == EngineError::Full {
            self.shared.set_read_only(true);
            return (0..count).map(|_| Err(Error::Full)).collect();
        }
        let why: Arc<str> = why.to_string().into();
        self.shared.fail(why.clone());
        self.broken = Some(why.clone());
        (0..count).map(|_| Err(Error::Unknown(why.clone()))).collect()
    }

    fn try_commit(&mut self, ops: Vec<Op>) -> Result<Vec<Result<Revision, Error>>, EngineError> {
        let ready = self.shared.write().propose(ops);
        let records: Vec<Record> = ready.persist.iter().map(|event| Record::of(event)).collect();
        if let Some(last) = records.last().map(|r| r.revision) {
            if let Err(why) = self.persist(&records) {
                self.shared.write().abandon();
                return Err(why);
            }
            self.publish(last);
        }
        let outcome =
            |o: Result<Revision, store_mvcc::Rejected>| o.map_err(|r| Error::Conflict { current: r.current });
        Ok(ready.outcomes.into_iter().map(outcome).collect())
    }

    fn persist(&mut self, records: &[Record]) -> Result<(), EngineError> {
        self.engine.append(records)?;
        if !self.dropped.is_empty() {
            let floor = self.shared.read().floor();
            self.engine.truncate(&self.dropped, floor)?;
        }
        self.engine.sync()?;
        self.dropped.clear();
        Ok(())
    }

    fn publish(&mut self, through: Revision) {
        let published = self.shared.write().persisted(through);
        self.dropped.extend(published.dropped);
        let resources: BTreeSet<_> = published.events.iter().map(|e| e.after.key.resource.clone()).collect();
        self.shared.announce(through, resources.into_iter(), &published.touched);
    }
}
