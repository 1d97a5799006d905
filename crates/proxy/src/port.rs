//! A port of a Service as the forwarding side sees it: a snapshot that is replaced, never changed.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use stdx::Env;
use tokio::sync::Semaphore;

use crate::config::{CLIENTS_MAX, STICKY_MAX};
use crate::pick::{Sticky, least_open};
use crate::traffic::Traffic;
use crate::upstream::{Lease, Upstream};

/// What all ports share.
pub(crate) struct Shared {
    /// The machine.
    pub(crate) env: Env,
    /// Room for connections of clients.
    pub(crate) clients: Arc<Semaphore>,
    /// Cells of pods, by address.
    cells: RwLock<Arc<HashMap<Ipv4Addr, Arc<str>>>>,
}

impl Shared {
    /// Without any cells yet.
    pub(crate) fn new(env: Env) -> Shared {
        Shared { env, clients: Arc::new(Semaphore::new(CLIENTS_MAX)), cells: RwLock::default() }
    }

    /// Replaces the cells.
    pub(crate) fn set_cells(&self, cells: HashMap<Ipv4Addr, Arc<str>>) {
        *self.cells.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(cells);
    }

    /// The cell of a client by its source address. 127.0.0.1 is nobody's in particular and belongs to none.
    fn cell_of(&self, client: Ipv4Addr) -> Option<Arc<str>> {
        self.cells.read().unwrap_or_else(PoisonError::into_inner).get(&client).cloned()
    }
}

/// A port.
pub(crate) struct Port {
    /// What passed through its Service.
    pub(crate) traffic: Arc<Traffic>,
    /// What all ports share.
    pub(crate) shared: Arc<Shared>,
    snapshot: RwLock<Arc<Snapshot>>,
    turn: AtomicUsize,
    sticky: Mutex<Sticky>,
}

/// Where a port leads at the moment.
pub(crate) struct Snapshot {
    /// Endpoints that may be chosen, each with its cell.
    pub(crate) targets: Vec<(Arc<Upstream>, Option<Arc<str>>)>,
    /// Whether those in the client's cell are preferred.
    pub(crate) prefers_cell: bool,
    /// How long a client stays with its endpoint.
    pub(crate) affinity: Option<Duration>,
    /// What to tell a client when there is none.
    pub(crate) why_empty: String,
}

impl Port {
    /// A port that leads nowhere yet.
    pub(crate) fn new(traffic: Arc<Traffic>, shared: Arc<Shared>) -> Port {
        let nowhere = Snapshot {
            targets: Vec::new(),
            prefers_cell: false,
            affinity: None,
            why_empty: "its endpoints are not known yet".to_owned(),
        };
        Port {
            traffic,
            shared,
            snapshot: RwLock::new(Arc::new(nowhere)),
            turn: AtomicUsize::new(0),
            sticky: Mutex::new(Sticky::new(STICKY_MAX)),
        }
    }

    /// Replaces the snapshot.
    pub(crate) fn publish(&self, snapshot: Snapshot) {
        *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
    }

    /// Where it leads at the moment.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Chooses an endpoint for a client and counts it as open there. Not one of those `tried` before.
    pub(crate) fn choose(&self, client: Ipv4Addr, tried: &[SocketAddrV4]) -> Option<Lease> {
        loop {
            let snapshot = self.snapshot();
            let upstream = match snapshot.affinity {
                Some(timeout) => self.stay(&snapshot, client, tried, timeout)?,
                None => self.spread(&snapshot, client, tried)?,
            };
            // One that was shut between choosing and entering is not eligible in the next round.
            if let Some(lease) = upstream.enter() {
                return Some(lease);
            }
        }
    }

    fn spread<'a>(
        &self,
        snapshot: &'a Snapshot,
        client: Ipv4Addr,
        tried: &[SocketAddrV4],
    ) -> Option<&'a Arc<Upstream>> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let open = |index: usize| {
            let upstream = &snapshot.targets[index].0;
            if tried.contains(&upstream.address) { None } else { upstream.eligible() }
        };
        let count = snapshot.targets.len();
        let cell = snapshot.prefers_cell.then(|| self.shared.cell_of(client)).flatten();
        let near = cell.and_then(|cell| {
            let is_near = |index: usize| snapshot.targets[index].1.as_ref() == Some(&cell);
            least_open(count, turn, |index| if is_near(index) { open(index) } else { None })
        });
        let index = near.or_else(|| least_open(count, turn, open))?;
        Some(&snapshot.targets[index].0)
    }

    fn stay<'a>(
        &self,
        snapshot: &'a Snapshot,
        client: Ipv4Addr,
        tried: &[SocketAddrV4],
        timeout: Duration,
    ) -> Option<&'a Arc<Upstream>> {
        let now = self.shared.env.now();
        let mut sticky = self.sticky.lock().unwrap_or_else(PoisonError::into_inner);
        let before = sticky.endpoint_of(client, now, timeout).filter(|address| !tried.contains(address));
        let stands = |address| {
            let mut all = snapshot.targets.iter().map(|(upstream, _)| upstream);
            all.find(|u| u.address == address && u.eligible().is_some())
        };
        let chosen = before.and_then(stands).or_else(|| self.spread(snapshot, client, tried))?;
        sticky.remember(client, chosen.address, now, timeout);
        Some(chosen)
    }
}

/// A connection of a client: while it or anything made from it lives, it takes up room.
#[derive(Clone)]
pub(crate) struct Peer {
    /// Its source address.
    pub(crate) address: Ipv4Addr,
    /// Its room.
    pub(crate) _room: Arc<tokio::sync::OwnedSemaphorePermit>,
}
