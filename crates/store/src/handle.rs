//! The handle that everybody holds.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use stdx::{Clock, Env, Time};
use store_mvcc::{Filter, Interest, Key, KeyRange, Mvcc, Op, Page, Revision, Row, Stats, Stored, Window};
use tokio::sync::{mpsc, oneshot, watch};

use crate::driver::{self, Driver, Submission};
use crate::{Cursor, Engine, Error};

/// Makes the index row of an object from its bytes, when the store is rebuilt from disk.
pub trait Project: Send + Sync {
    /// The row; must be the one that writers give with the same bytes.
    fn row(&self, key: &Key, body: &[u8]) -> Row;
}

/// A projection for stores whose objects are not selected by anything.
pub struct NoRow;

impl Project for NoRow {
    fn row(&self, _key: &Key, _body: &[u8]) -> Row {
        Row::default()
    }
}

/// Where the driver runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Driving {
    /// On a thread of its own; writes of many callers share a sync.
    #[default]
    Thread,
    /// Within each call of `write`, before it returns; repeatable.
    Inline,
}

/// The bounds of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How much of the past is kept.
    pub window: Window,
    /// Most submissions that wait for the driver; more of them wait outside.
    pub queue_max: usize,
    /// Most operations that share a sync.
    pub batch_max: usize,
    /// Most events that one call of a cursor gives.
    pub cursor_batch_max: usize,
    /// Where the driver runs.
    pub driving: Driving,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            window: Window::default(),
            queue_max: 1024,
            batch_max: 512,
            cursor_batch_max: 512,
            driving: Driving::Thread,
        }
    }
}

impl Limits {
    /// The same bounds with the driver inline.
    pub fn inline(self) -> Limits {
        Limits { driving: Driving::Inline, ..self }
    }
}

/// Batches whose time is remembered.
const TIMES_MAX: usize = 4096;

/// When the newest batches became durable.
#[derive(Default)]
struct Times {
    clock: OnceLock<Arc<dyn Clock>>,
    /// Last revision of a batch, and when it was durable; oldest first.
    batches: Mutex<VecDeque<(Revision, Time)>>,
}

impl Times {
    fn batches(&self) -> MutexGuard<'_, VecDeque<(Revision, Time)>> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, through: Revision) {
        let Some(clock) = self.clock.get() else { return };
        let now = clock.now();
        let mut batches = self.batches();
        if batches.len() == TIMES_MAX {
            batches.pop_front();
        }
        batches.push_back((through, now));
    }

    fn of(&self, revision: Revision) -> Option<Time> {
        let batches = self.batches();
        let at = batches.partition_point(|(through, _)| *through < revision);
        batches.get(at).map(|(_, time)| *time)
    }
}

/// The committed state and who waits for it to change.
pub(crate) struct Shared {
    mvcc: RwLock<Mvcc>,
    pub(crate) head: watch::Sender<Revision>,
    by_resource: Mutex<BTreeMap<Arc<str>, watch::Sender<Revision>>>,
    by_interest: Mutex<BTreeMap<Interest, watch::Sender<Revision>>>,
    failed: watch::Sender<Option<Arc<str>>>,
    times: Times,
    is_read_only: AtomicBool,
    pub(crate) limits: Limits,
}

impl Shared {
    /// Reads the committed state. A panic elsewhere cannot leave it half-changed in a way that reads would see.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Mvcc> {
        self.mvcc.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Mvcc> {
        self.mvcc.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn wakers(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, watch::Sender<Revision>>> {
        self.by_resource.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn subscribe(&self, resource: &Arc<str>) -> watch::Receiver<Revision> {
        let mut wakers = self.wakers();
        wakers.entry(resource.clone()).or_insert_with(|| watch::Sender::new(Revision(0))).subscribe()
    }

    fn followers(&self) -> MutexGuard<'_, BTreeMap<Interest, watch::Sender<Revision>>> {
        self.by_interest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to follow what touches a value after `from`; ends with [`Shared::unfollow`].
    pub(crate) fn follow(&self, interest: &Interest, from: Revision) -> watch::Receiver<Revision> {
        let mut followers = self.followers();
        let waker = followers.entry(interest.clone()).or_insert_with(|| watch::Sender::new(Revision(0)));
        let moved = waker.subscribe();
        drop(followers);
        self.write().follow(interest, from);
        moved
    }

    /// The caller's receiver, which is about to go, was one of those that [`Shared::follow`] gave.
    pub(crate) fn unfollow(&self, interest: &Interest) {
        self.write().unfollow(interest);
        let mut followers = self.followers();
        if followers.get(interest).is_some_and(|waker| waker.receiver_count() <= 1) {
            followers.remove(interest);
        }
    }

    /// Tells everybody who waits that the committed state has moved.
    pub(crate) fn announce(
        &self,
        head: Revision,
        resources: impl Iterator<Item = Arc<str>>,
        touched: &[Interest],
    ) {
        self.times.note(head);
        let wakers = self.wakers();
        for resource in resources {
            if let Some(waker) = wakers.get(&resource) {
                waker.send_replace(head);
            }
        }
        drop(wakers);
        let followers = self.followers();
        for waker in touched.iter().filter_map(|interest| followers.get(interest)) {
            waker.send_replace(head);
        }
        drop(followers);
        self.head.send_replace(head);
    }

    /// Remembers whether the last write that was no deletion found no room.
    pub(crate) fn set_read_only(&self, is_read_only: bool) {
        self.is_read_only.store(is_read_only, Ordering::Relaxed);
    }

    /// Remembers why there will be no more writes.
    pub(crate) fn fail(&self, why: Arc<str>) {
        self.failed.send_replace(Some(why));
    }

    /// Ends all waiting: nothing will ever move again.
    pub(crate) fn end(&self) {
        self.wakers().clear();
        self.followers().clear();
    }
}

enum Drive {
    Thread { queue: Option<mpsc::Sender<Submission>>, thread: Option<JoinHandle<()>> },
    Inline(Mutex<Driver>),
}

struct Inner {
    shared: Arc<Shared>,
    drive: Drive,
}

impl Drop for Inner {
    /// Writes what is queued, then lets go of the engine and its lock.
    fn drop(&mut self) {
        if let Drive::Thread { queue, thread } = &mut self.drive {
            drop(queue.take());
            if let Some(thread) = thread.take() {
                let _ = thread.join();
            }
        }
        self.shared.end();
    }
}

/// A handle on the store; cheap to clone. The store closes when the last one is dropped.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

impl Store {
    /// Rebuilds the state from `engine` and starts the driver.
    ///
    /// # Errors
    /// When what the engine holds cannot be read or makes no sense.
    pub fn open(engine: Box<dyn Engine>, project: Arc<dyn Project>, limits: Limits) -> Result<Store, Error> {
        let (driver, shared) = driver::restore(engine, project.as_ref(), limits)?;
        let drive = match limits.driving {
            Driving::Inline => Drive::Inline(Mutex::new(driver)),
            Driving::Thread => {
                let (queue, submissions) = mpsc::channel(limits.queue_max);
                let run = move || driver::run(driver, submissions, limits.batch_max);
                let thread = std::thread::Builder::new().name("store".to_owned()).spawn(run);
                let thread = thread.map_err(Error::io("start the store's thread"))?;
                Drive::Thread { queue: Some(queue), thread: Some(thread) }
            }
        };
        Ok(Store { inner: Arc::new(Inner { shared, drive }) })
    }

    /// Writes one operation; completes when it is durable and visible.
    ///
    /// # Errors
    /// `Conflict` when its precondition does not hold; see [`Error`] for the rest.
    pub async fn write(&self, op: Op) -> Result<Revision, Error> {
        self.write_many(vec![op]).await.pop().unwrap_or(Err(Error::Closed))
    }

    /// Writes several operations with one sync, each on its own merits; gives one outcome per operation, in order.
    pub async fn write_many(&self, ops: Vec<Op>) -> Vec<Result<Revision, Error>> {
        let count = ops.len();
        let closed = || (0..count).map(|_| Err(Error::Closed)).collect();
        match &self.inner.drive {
            Drive::Inline(driver) => driver.lock().unwrap_or_else(PoisonError::into_inner).commit(ops),
            Drive::Thread { queue, .. } => {
                let Some(queue) = queue else { return closed() };
                let (answer, outcome) = oneshot::channel();
                if queue.send(Submission { ops, answer }).await.is_err() {
                    return closed();
                }
                outcome.await.unwrap_or_else(|_| {
                    (0..count).map(|_| Err(Error::Unknown("the store's thread ended".into()))).collect()
                })
            }
        }
    }

    /// The committed version at a key.
    pub fn get(&self, key: &Key) -> Option<Arc<Stored>> {
        self.inner.shared.read().get(key)
    }

    /// A page of the committed state in key order, now or at a past revision; `limit` 0 means no limit.
    ///
    /// # Errors
    /// `Compacted` or `Future` when that revision cannot be served.
    pub fn list(
        &self,
        range: &KeyRange,
        at: Option<Revision>,
        after: Option<&Key>,
        limit: usize,
        filter: Option<Filter<'_>>,
    ) -> Result<Page, Error> {
        Ok(self.inner.shared.read().list(range, at, after, limit, filter)?)
    }

    /// Newest committed revision.
    pub fn revision(&self) -> Revision {
        *self.inner.shared.head.borrow()
    }

    /// Remembers from now on, by this clock, when changes became durable. The first call counts.
    pub fn keep_times(&self, clock: Arc<dyn Clock>) {
        let _ = self.inner.shared.times.clock.set(clock);
    }

    /// When a committed revision became durable; of one older than the last few thousand batches, a time after that. `None` where no
    /// times are kept, or nothing was written since they are.
    pub fn durable_at(&self, revision: Revision) -> Option<Time> {
        self.inner.shared.times.of(revision)
    }

    /// Waits until `revision` is committed, at most for `timeout`; says whether it is.
    pub async fn wait_for(&self, revision: Revision, env: &Env, timeout: Duration) -> bool {
        let mut head = self.inner.shared.head.subscribe();
        if *head.borrow() >= revision {
            return true;
        }
        tokio::select! {
            biased;
            reached = head.wait_for(|head| *head >= revision) => reached.is_ok(),
            () = env.sleep(timeout) => false,
        }
    }

    /// Follows a range: all its events with a revision above `from`, in order, without gaps.
    ///
    /// # Errors
    /// `Compacted` when some of them are already gone.
    pub fn watch(&self, range: KeyRange, from: Revision) -> Result<Cursor, Error> {
        Cursor::open(self.inner.shared.clone(), range, from)
    }

    /// The same of the changes that touch objects with one value of one field, now or before the change. Others cost nothing: they
    /// neither wake the cursor nor are looked at. A position in the log moves when the cursor is asked, not by itself.
    ///
    /// # Errors
    /// `Compacted` when some of them are already gone.
    pub fn watch_touching(
        &self,
        range: KeyRange,
        field: &str,
        value: &str,
        from: Revision,
    ) -> Result<Cursor, Error> {
        let interest =
            Interest { resource: range.resource.clone(), field: field.into(), value: value.into() };
        Cursor::open_touching(self.inner.shared.clone(), range, interest, from)
    }

    /// Completes when the disk has failed and all writing has ended, with the reason. The process should exit then: only a new one
    /// can find out what the disk kept.
    pub async fn failed(&self) -> Error {
        let mut failed = self.inner.shared.failed.subscribe();
        match failed.wait_for(Option::is_some).await.map(|why| why.clone()) {
            Ok(Some(why)) => Error::Fatal(why),
            Ok(None) | Err(_) => Error::Closed,
        }
    }

    /// Whether the disk had no room for the last write that was no deletion; the next one may find some.
    pub fn is_read_only(&self) -> bool {
        self.inner.shared.is_read_only.load(Ordering::Relaxed)
    }

    /// Live objects of a range.
    pub fn count(&self, range: &KeyRange) -> usize {
        self.inner.shared.read().count(range)
    }

    /// Resources that have or had objects, with the number of live ones.
    pub fn resources(&self) -> Vec<(Arc<str>, usize)> {
        self.inner.shared.read().resources().map(|(r, n)| (r.clone(), n)).collect()
    }

    /// Sizes, for metrics.
    pub fn stats(&self) -> Stats {
        self.inner.shared.read().stats()
    }
}

pub(crate) fn shared(mvcc: Mvcc, limits: Limits) -> Arc<Shared> {
    let head = watch::Sender::new(mvcc.head());
    Arc::new(Shared {
        mvcc: RwLock::new(mvcc),
        head,
        by_resource: Mutex::default(),
        by_interest: Mutex::default(),
        failed: watch::Sender::new(None),
        times: Times::default(),
        is_read_only: AtomicBool::new(false),
        limits,
    })
}
