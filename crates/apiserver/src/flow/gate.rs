//! The gate: requests wait here for their turn, and give their seats back when their last byte is on its way.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use serde_json::Value;
use stdx::Env;
use store::{KeyRange, Revision};
use tokio::sync::oneshot;

use super::config::{Asked, Config, Flow};
use super::fair::{Arrival, Fair, Ticket};
use crate::metrics::Histogram;
use crate::server::ApiServer;
use crate::stored;

/// Longest wait for a turn: a quarter of the longest request, as upstream.
const WAIT_MAX: Duration = Duration::from_secs(15);
const SCHEMAS: &str = "flowschemas.flowcontrol.apiserver.k8s.io";
const LEVELS: &str = "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io";

/// Why a request has no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Busy {
    /// No seat, and its level does not queue.
    ConcurrencyLimit,
    /// Its queues are full.
    QueueFull,
    /// It has waited for too long.
    TimeOut,
}

impl Busy {
    /// Name of the reason in upstream's metrics.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Busy::ConcurrencyLimit => "concurrency-limit",
            Busy::QueueFull => "queue-full",
            Busy::TimeOut => "time-out",
        }
    }
}

#[derive(Default)]
struct State {
    config: Arc<Config>,
    fair: Fair,
    waiting: BTreeMap<Ticket, oneshot::Sender<()>>,
    next: Ticket,
    /// What came of requests so far, by schema and level.
    counts: BTreeMap<(Arc<str>, Arc<str>), Counts>,
}

/// Upper bounds of upstream's buckets for how long requests wait, in microseconds.
const WAIT_MICROS: [u64; 13] = [
    0, 5_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000, 5_000_000, 10_000_000,
    15_000_000, 30_000_000,
];

struct Counts {
    let_in: u64,
    refused: BTreeMap<&'static str, u64>,
    waits: Histogram<{ WAIT_MICROS.len() }>,
}

impl Default for Counts {
    fn default() -> Counts {
        Counts { let_in: 0, refused: BTreeMap::new(), waits: Histogram::new(WAIT_MICROS) }
    }
}

impl State {
    fn counts(&mut self, schema: &Arc<str>, level: &Arc<str>) -> &mut Counts {
        self.counts.entry((schema.clone(), level.clone())).or_default()
    }
}

/// The gate of one server.
#[derive(Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
}

/// A place among the requests that run; given back when dropped.
pub(crate) struct Place {
    /// Nothing when its level is exempt.
    _held: Option<Held>,
    /// Identities of the schema and the level; nothing when no rule knows the request.
    pub(crate) uids: Option<(Arc<str>, Arc<str>)>,
}

/// A ticket with its seats, taken or waited for.
struct Held {
    gate: Arc<Gate>,
    level: Arc<str>,
    ticket: Ticket,
    width: u32,
}

/// A seat, or a place in a queue with the word that is given when the turn has come.
struct Seat {
    held: Held,
    turn: Option<oneshot::Receiver<()>>,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.gate.lock();
        let started = match state.waiting.remove(&self.ticket) {
            // It gave up waiting.
            Some(_) => state.fair.give_up(&self.level, self.ticket).unwrap_or_default(),
            None => state.fair.done(&self.level, self.width),
        };
        state.wake(started);
    }
}

impl State {
    /// Tells tickets that their turn has come. Whoever no longer listens gives the seats back when it learns of it.
    fn wake(&mut self, started: Vec<Ticket>) {
        for ticket in started {
            if let Some(waiting) = self.waiting.remove(&ticket) {
                let _ = waiting.send(());
            }
        }
    }
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a request in that wants so many seats, at once or in its turn.
    pub(crate) async fn enter(
        self: &Arc<Self>,
        asked: &Asked<'_>,
        wanted: u32,
        env: &Env,
    ) -> Result<Place, Busy> {
        let config = self.lock().config.clone();
        let Some(flow) = config.flow(asked) else { return Ok(Place { _held: None, uids: None }) };
        let uids = Some((flow.schema_uid.clone(), flow.level_uid.clone()));
        let Some(level) = flow.level.clone() else { return Ok(Place { _held: None, uids }) };
        let Seat { held, turn } = self.arrive(level, &flow, wanted)?;
        if let Some(turn) = turn {
            let began = env.now();
            tokio::select! {
                biased;
                // The sender is dropped by nobody who does not send.
                _ = turn => {}
                () = env.sleep(WAIT_MAX) => {
                    self.count_refused(&flow.schema, &held.level, Busy::TimeOut);
                    return Err(Busy::TimeOut);
                }
            }
            let waited = env.now().since(began);
            self.lock().counts(&flow.schema, &held.level).waits.observe(waited, 1);
        }
        Ok(Place { _held: Some(held), uids })
    }

    /// Takes a seat, or a place in a queue.
    fn arrive(self: &Arc<Self>, level: Arc<str>, flow: &Flow, wanted: u32) -> Result<Seat, Busy> {
        let mut state = self.lock();
        let ticket = state.next;
        state.next += 1;
        let width = state.fair.width(&level, wanted);
        let busy = match state.fair.arrive(&level, flow.hash, ticket, width) {
            arrival @ (Arrival::Runs | Arrival::Waits) => {
                let counts = state.counts(&flow.schema, &level);
                counts.let_in += 1;
                if arrival == Arrival::Runs {
                    counts.waits.observe(Duration::ZERO, 1);
                }
                let turn = (arrival == Arrival::Waits).then(|| {
                    let (turn, told) = oneshot::channel();
                    state.waiting.insert(ticket, turn);
                    told
                });
                drop(state);
                return Ok(Seat { held: Held { gate: self.clone(), level, ticket, width }, turn });
            }
            Arrival::NoSeat => Busy::ConcurrencyLimit,
            Arrival::QueueFull => Busy::QueueFull,
        };
        drop(state);
        self.count_refused(&flow.schema, &level, busy);
        Err(busy)
    }

    fn count_refused(&self, schema: &Arc<str>, level: &Arc<str>, busy: Busy) {
        *self.lock().counts(schema, level).refused.entry(busy.reason()).or_default() += 1;
    }

    /// Takes over other rules; what runs goes on, what waits waits on under them.
    fn change(&self, config: Config) {
        let mut state = self.lock();
        let started = state.fair.reshape(&config.shapes());
        state.config = Arc::new(config);
        state.wake(started);
    }

    /// Its figures under upstream's names.
    pub(crate) fn figures(&self) -> String {
        use std::fmt::Write as _;
        let state = self.lock();
        let mut out = String::new();
        let mut table = |name: &str, help: &str, kind: &str, rows: Vec<(String, u64)>| {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (labels, n) in rows {
                let _ = writeln!(out, "{name}{{{labels}}} {n}");
            }
        };
        let level = |name: &str| format!("priority_level=\"{name}\"");
        let of = |pick: fn(u32, u32, usize) -> u64| {
            state
                .fair
                .figures()
                .map(|(n, seats, busy, waiting)| (level(n), pick(seats, busy, waiting)))
                .collect()
        };
        table(
            "apiserver_flowcontrol_nominal_limit_seats",
            "seats of each level",
            "gauge",
            of(|seats, _, _| seats.into()),
        );
        table(
            "apiserver_flowcontrol_current_executing_seats",
            "seats taken",
            "gauge",
            of(|_, busy, _| busy.into()),
        );
        table(
            "apiserver_flowcontrol_current_inqueue_requests",
            "requests that wait for their turn",
            "gauge",
            of(|_, _, waiting| waiting as u64),
        );
        let flow = |(schema, level): &(Arc<str>, Arc<str>)| {
            format!("flow_schema=\"{schema}\",priority_level=\"{level}\"")
        };
        table(
            "apiserver_flowcontrol_dispatched_requests_total",
            "requests that ran or wait to run",
            "counter",
            state.counts.iter().map(|(of, counts)| (flow(of), counts.let_in)).collect(),
        );
        let refused = state.counts.iter().flat_map(|(of, counts)| {
            counts.refused.iter().map(move |(why, n)| (format!("{},reason=\"{why}\"", flow(of)), *n))
        });
        table(
            "apiserver_flowcontrol_rejected_requests_total",
            "requests that were told to come again",
            "counter",
            refused.collect(),
        );
        const WAIT: &str = "apiserver_flowcontrol_request_wait_duration_seconds";
        let _ =
            writeln!(out, "# HELP {WAIT} how long requests waited for their turn\n# TYPE {WAIT} histogram");
        for (of, counts) in &state.counts {
            counts.waits.write(&mut out, WAIT, &format!("execute=\"true\",{}", flow(of)));
        }
        out
    }
}

/// Reads the rules that are there.
pub(crate) fn load(server: &ApiServer) -> Revision {
    let all = |resource: &str| {
        let range = KeyRange { resource: resource.into(), namespace: None };
        let page = server.store.list(&range, None, None, 0, None).unwrap_or_default();
        let objects: Vec<Value> = page.items.iter().filter_map(|item| stored::decode(item).ok()).collect();
        (page.revision, objects)
    };
    let (at, schemas) = all(SCHEMAS);
    let (_, levels) = all(LEVELS);
    let seats = u32::try_from(server.settings.seats().unwrap_or(server.limits.seats)).unwrap_or(u32::MAX);
    server.gate.change(Config::of(&schemas, &levels, seats));
    at
}

/// Follows the rules, until the server or its store ends.
pub(crate) async fn reload(server: Weak<ApiServer>) {
    while let Some(strong) = server.upgrade() {
        let from = load(&strong);
        let follow = |resource: &str| {
            strong.store.watch(KeyRange { resource: resource.into(), namespace: None }, from)
        };
        let (Ok(mut schemas), Ok(mut levels)) = (follow(SCHEMAS), follow(LEVELS)) else { continue };
        // Waiting must not keep the server alive.
        drop(strong);
        let moved = tokio::select! {
            moved = schemas.next() => moved,
            moved = levels.next() => moved,
        };
        if matches!(moved, Err(store::Error::Closed)) {
            return;
        }
    }
}
