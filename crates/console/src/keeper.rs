//! The owner of all that is shown. It takes in changes, collects them for a moment, and publishes snapshots.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use api_meta::ObjectKey;
use stdx::{Env, Time};
use tokio::sync::{mpsc, watch};
use view::board::{Fact, Kind, LoadReading, Meter, Observed, Parts, Tick, TrafficReading};

use crate::config::Limits;

/// Changes that wait to be taken in; who brings more waits.
pub(crate) const INPUTS_MAX: usize = 1024;
/// Changes taken in at once.
const BATCH: usize = 256;
/// A load generator that says nothing for so long has stopped.
const LOAD_SILENCE: Duration = Duration::from_secs(3);
/// What depends on time alone (overdue drains, old events) is looked at so often.
const REFRESH: Duration = Duration::from_secs(2);

/// What the board reads.
const KINDS: [Kind; 4] = [Kind::App, Kind::Pod, Kind::Node, Kind::Event];

/// Something the keeper learns.
pub(crate) enum Input {
    /// An object was added or changed.
    Put(ObjectKey, Fact),
    /// An object is gone.
    Gone(Kind, ObjectKey),
    /// All objects of a kind have been told.
    Synced(Kind),
    /// Nobody mirrors any more: what was told is not kept.
    Forgotten,
    /// A look at the proxy; nothing when there is none or it did not answer.
    Traffic(Option<TrafficReading>),
    /// A report of a load generator.
    Load(LoadReading),
}

/// What is shown, at one moment. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Published {
    /// When.
    pub(crate) at: Time,
    /// The board.
    pub(crate) parts: Parts,
    /// Everything has been seen once.
    pub(crate) is_known: bool,
    /// The last ticks of traffic.
    pub(crate) ticks: VecDeque<Arc<Tick>>,
    /// Number of the tick after the last.
    pub(crate) next_tick: u64,
}

/// Takes in changes and publishes until nobody is left to bring any.
pub(crate) async fn keep(
    mut inputs: mpsc::Receiver<Input>,
    out: watch::Sender<Arc<Published>>,
    env: Env,
    limits: Limits,
) {
    let mut keeper = Keeper::new(env.now());
    let mut batch = Vec::with_capacity(BATCH);
    let mut beat = env.sleep(limits.debounce);
    loop {
        tokio::select! {
            taken = inputs.recv_many(&mut batch, BATCH) => {
                if taken == 0 {
                    return;
                }
                let now = env.now();
                batch.drain(..).for_each(|input| keeper.take(input, now, limits.ticks));
            }
            () = &mut beat => {
                beat = env.sleep(limits.debounce);
                if let Some(published) = keeper.beat(env.now()) {
                    out.send_replace(Arc::new(published));
                }
            }
        }
    }
}

struct Keeper {
    seen: Observed,
    meter: Meter,
    load_at: Option<Time>,
    shown: Published,
    refreshed: Time,
    /// Objects have changed since the parts were made.
    is_stale: bool,
    /// Ticks have come since the last beat.
    has_ticked: bool,
}

impl Keeper {
    fn new(now: Time) -> Keeper {
        Keeper {
            seen: Observed::default(),
            meter: Meter::default(),
            load_at: None,
            shown: Published::default(),
            refreshed: now,
            is_stale: true,
            has_ticked: false,
        }
    }

    fn take(&mut self, input: Input, now: Time, ticks_max: usize) {
        match input {
            Input::Put(key, fact) => self.seen.put(key, fact),
            Input::Gone(kind, key) => self.seen.remove(kind, &key),
            Input::Synced(kind) => self.seen.seen_all(kind),
            Input::Forgotten => self.seen = Observed::default(),
            Input::Traffic(reading) => return self.tick(reading, now, ticks_max),
            Input::Load(reading) => {
                self.load_at = Some(now);
                return self.meter.load(reading);
            }
        }
        self.is_stale = true;
    }

    fn tick(&mut self, reading: Option<TrafficReading>, now: Time, ticks_max: usize) {
        if self.load_at.is_some_and(|at| now.since(at) >= LOAD_SILENCE) {
            self.load_at = None;
            self.meter.load_ended();
        }
        let tick = self.meter.tick(reading, now);
        if tick.services.is_empty() && tick.load.is_none() {
            // Nobody counts: a plot of nothing needs no points.
            return;
        }
        if self.shown.ticks.len() >= ticks_max {
            self.shown.ticks.pop_front();
        }
        self.shown.ticks.push_back(Arc::new(tick));
        self.shown.next_tick += 1;
        self.has_ticked = true;
    }

    /// What is to be shown now; nothing when it is what was shown before.
    fn beat(&mut self, now: Time) -> Option<Published> {
        let mut is_new = std::mem::take(&mut self.has_ticked);
        if self.is_stale || now.since(self.refreshed) >= REFRESH {
            self.is_stale = false;
            self.refreshed = now;
            let parts = Parts::of(&self.seen, now).sharing(&self.shown.parts);
            let is_known = KINDS.iter().all(|kind| self.seen.known.contains(kind));
            is_new |= parts != self.shown.parts || is_known != self.shown.is_known;
            self.shown.parts = parts;
            self.shown.is_known = is_known;
        }
        self.shown.at = now;
        is_new.then(|| self.shown.clone())
    }
}
