//! The one owner of what the proxy does: takes in news, plans, carries the plan out.
//!
//! Forwarding does not wait for any of this: it reads snapshots that are published here.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::net::SocketAddrV4;
use std::pin::pin;
use std::sync::Arc;

use api_client::Client;
use api_core::drain;
use api_meta::ObjectKey;
use stdx::{Env, Time};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use crate::config::{CHORES, CLIENTS_MAX, Config, Error, INBOX_MAX, SHUTDOWN_MAX, TICK};
use crate::edit::{self, Outcome};
use crate::facts::Mode;
use crate::listen::Listener;
use crate::mirror::{self, Mirror, News};
use crate::plan::{self, Edit, Load, Membership, Observed, Plan, Route, RouteKey, Standing, Target};
use crate::port::{Port, Shared, Snapshot};
use crate::status::{self, Board, Row, Shown};
use crate::tell::{self, Trouble};
use crate::traffic::Traffic;
use crate::upstream::Upstream;

/// Serves the addresses of Services until `shutdown` completes; then lets what is open end, for a while.
///
/// The API server may be away at any time, also at the start. Finalizers are left as they are at the end: they say that the
/// next proxy may send traffic there, too.
pub async fn run(
    client: Client,
    env: Env,
    config: Config,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let listener = status::bind(config.status_listen)?;
    let (news, inbox) = mpsc::channel(INBOX_MAX);
    let (done, outcomes) = mpsc::unbounded_channel();
    mirror::start(&client, &env, &news);
    let mut control = Control::new(client, env, done);
    // A set, because it ends its tasks when this future is dropped.
    let mut figures = JoinSet::new();
    figures.spawn(status::serve(listener, control.board.clone()));
    control.go(inbox, outcomes, shutdown).await;
    control.end().await;
    figures.shutdown().await;
    Ok(())
}

/// An endpoint of a port, from when it was first chosen until nothing of it is left.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct UpstreamKey {
    route: RouteKey,
    address: SocketAddrV4,
    /// Uid of its pod: another pod at the same address has counts of its own.
    pod: String,
}

impl UpstreamKey {
    fn of(route: &RouteKey, target: &Target) -> UpstreamKey {
        UpstreamKey { route: route.clone(), address: target.address, pod: target.pod.1.clone() }
    }

    fn membership(&self) -> Membership {
        Membership { service: self.route.service.clone(), pod: self.pod.clone() }
    }
}

struct Known {
    upstream: Arc<Upstream>,
    /// As it was last seen.
    target: Target,
}

/// An address that should be listened on.
struct Address {
    route: RouteKey,
    mode: Mode,
    listening: Result<Listener, Trouble>,
}

struct Control {
    client: Client,
    env: Env,
    shared: Arc<Shared>,
    board: Arc<Board>,
    mirror: Mirror,
    /// Told when an endpoint that is shut comes to rest.
    rest: Arc<Notify>,
    traffic: BTreeMap<ObjectKey, Arc<Traffic>>,
    ports: BTreeMap<RouteKey, Arc<Port>>,
    addresses: BTreeMap<SocketAddrV4, Address>,
    upstreams: BTreeMap<UpstreamKey, Known>,
    in_flight: BTreeMap<ObjectKey, BTreeSet<String>>,
    /// Since when protected endpoints are not chosen any more.
    draining: BTreeMap<Membership, Time>,
    /// Services whose condition was written since the last chores: the watch may not have told of it yet.
    told: BTreeSet<ObjectKey>,
    /// Outcomes of edits; at most one for each pod is on its way.
    done: mpsc::UnboundedSender<Outcome>,
}

impl Control {
    fn new(client: Client, env: Env, done: mpsc::UnboundedSender<Outcome>) -> Control {
        Control {
            client,
            shared: Arc::new(Shared::new(env.clone())),
            env,
            board: Arc::default(),
            mirror: Mirror::default(),
            rest: Arc::default(),
            traffic: BTreeMap::new(),
            ports: BTreeMap::new(),
            addresses: BTreeMap::new(),
            upstreams: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            draining: BTreeMap::new(),
            told: BTreeSet::new(),
            done,
        }
    }

    async fn go(
        &mut self,
        mut inbox: mpsc::Receiver<News>,
        mut outcomes: mpsc::UnboundedReceiver<Outcome>,
        shutdown: impl Future<Output = ()>,
    ) {
        let mut shutdown = pin!(shutdown);
        let rest = self.rest.clone();
        let mut tick = self.env.sleep(TICK);
        let mut chores = self.env.now() + CHORES;
        loop {
            let changed = tokio::select! {
                () = &mut shutdown => return,
                Some(news) = inbox.recv() => self.take_all(news, &mut inbox),
                Some(outcome) = outcomes.recv() => {
                    self.take_outcome(outcome);
                    true
                }
                () = rest.notified() => true,
                () = &mut tick => {
                    tick = self.env.sleep(TICK);
                    let now = self.env.now();
                    self.traffic.values().for_each(|t| t.sample(now));
                    let due = now >= chores;
                    if due {
                        chores = now + CHORES;
                        self.chores();
                    }
                    due
                }
            };
            if changed && self.mirror.is_synced() {
                self.step().await;
            }
        }
    }

    /// Takes in what has come, all at once: a list of a thousand pods is one decision.
    fn take_all(&mut self, first: News, inbox: &mut mpsc::Receiver<News>) -> bool {
        let mut changed = self.mirror.take(first);
        for _ in 0..INBOX_MAX {
            let Ok(news) = inbox.try_recv() else { break };
            changed |= self.mirror.take(news);
        }
        changed
    }

    fn take_outcome(&mut self, outcome: Outcome) {
        self.in_flight.remove(&outcome.pod);
        self.mirror.take_answer(&outcome.pod, outcome.fact);
        if let Some(edit) = &outcome.written {
            self.released(edit);
        }
    }

    fn released(&mut self, edit: &Edit) {
        for service in &edit.releases {
            let service = ObjectKey::new(&*edit.pod.namespace, service);
            tracing::info!(pod = %edit.pod, %service, "pod drained and released");
            if let Some(since) = self.draining.remove(&Membership { service, pod: edit.uid.clone() }) {
                self.board.drains.finished(self.env.now().since(since));
            }
        }
    }

    fn chores(&mut self) {
        self.addresses.retain(|_, address| address.listening.is_ok());
        self.upstreams.values().for_each(|known| known.upstream.sweep());
        self.told.clear();
    }

    /// Plans and carries out. What was shut may be at rest at once, so that the next plan can release it.
    async fn step(&mut self) {
        while self.carry_out().await {}
    }

    /// One plan. Whether it shut an endpoint.
    async fn carry_out(&mut self) -> bool {
        let plan = self.plan();
        let shut = self.set_endpoints(&plan);
        self.set_addresses(&plan).await;
        self.tell_troubles();
        self.show(&plan);
        for edit in plan.edits {
            self.start(edit);
        }
        shut
    }

    fn plan(&self) -> Plan {
        let mut loads: BTreeMap<Membership, Load> = BTreeMap::new();
        for (key, known) in &self.upstreams {
            let (sum, one) = (loads.entry(key.membership()).or_default(), known.upstream.load());
            sum.admitting |= one.admitting;
            sum.open += one.open;
            sum.connections += one.connections;
        }
        plan::plan(&Observed { mirror: &self.mirror, loads: &loads, in_flight: &self.in_flight })
    }

    fn start(&mut self, edit: Edit) {
        let drops = edit.releases.iter().map(|name| drain::protection_of(name)).collect();
        self.in_flight.insert(edit.pod.clone(), drops);
        let (client, env, done) = (self.client.clone(), self.env.clone(), self.done.clone());
        self.env.spawn("proxy edit", async move {
            let outcome = edit::carry_out(client, env, edit).await;
            let _ = done.send(outcome);
        });
    }

    /// Publishes who may be chosen, and shuts who may not. Whether any was shut.
    fn set_endpoints(&mut self, plan: &Plan) -> bool {
        self.set_cells();
        let mut admitted = BTreeSet::new();
        let mut listed = BTreeSet::new();
        for (key, route) in &plan.routes {
            let mut targets = Vec::new();
            for target in &route.targets {
                let id = UpstreamKey::of(key, target);
                if let Some(known) = self.upstreams.get_mut(&id) {
                    known.target = target.clone();
                }
                if target.admitted {
                    let upstream = self.admit(&id, target);
                    targets.push((upstream, target.cell.as_deref().map(Arc::from)));
                    admitted.insert(id.clone());
                }
                listed.insert(id);
            }
            self.port(key).publish(Snapshot {
                targets,
                prefers_cell: route.prefers_cell,
                affinity: route.affinity,
                why_empty: why_empty(route),
            });
        }
        self.close_ports(plan);
        let shut = self.shut_all_but(&admitted);
        self.upstreams.retain(|id, known| listed.contains(id) || !known.upstream.load().is_at_rest());
        shut
    }

    fn set_cells(&self) {
        let cells = self.mirror.pods.values().filter_map(|pod| {
            let cell = plan::cell(&self.mirror, &pod.node)?;
            Some((pod.address?, Arc::from(cell)))
        });
        self.shared.set_cells(cells.collect::<HashMap<_, _>>());
    }

    fn admit(&mut self, id: &UpstreamKey, target: &Target) -> Arc<Upstream> {
        let rest = &self.rest;
        let known = self.upstreams.entry(id.clone()).or_insert_with(|| Known {
            upstream: Arc::new(Upstream::new(target.address, rest.clone())),
            target: target.clone(),
        });
        known.upstream.admit();
        self.draining.remove(&id.membership());
        known.upstream.clone()
    }

    fn port(&mut self, key: &RouteKey) -> &Port {
        let traffic = self.traffic.entry(key.service.clone()).or_insert_with(|| Arc::new(Traffic::new()));
        let make = || Arc::new(Port::new(traffic.clone(), self.shared.clone()));
        self.ports.entry(key.clone()).or_insert_with(make)
    }

    /// Ports that are not any more lead nowhere: clients that still hold a connection are told so.
    fn close_ports(&mut self, plan: &Plan) {
        self.ports.retain(|key, port| {
            let stays = plan.routes.contains_key(key);
            if !stays {
                let why_empty = format!("the Service {} or its port is gone", key.service);
                port.publish(Snapshot {
                    targets: Vec::new(),
                    prefers_cell: false,
                    affinity: None,
                    why_empty,
                });
            }
            stays
        });
        let services: BTreeSet<&ObjectKey> = plan.routes.keys().map(|key| &key.service).collect();
        self.traffic.retain(|service, _| services.contains(service));
    }

    fn shut_all_but(&mut self, admitted: &BTreeSet<UpstreamKey>) -> bool {
        let mut shut = false;
        let now = self.env.now();
        for (id, known) in self.upstreams.iter().filter(|(id, _)| !admitted.contains(id)) {
            if !known.upstream.shut() {
                continue;
            }
            shut = true;
            if is_protected(&self.mirror, &id.route.service, &known.target) {
                self.draining.entry(id.membership()).or_insert_with(|| {
                    self.board.drains.started();
                    now
                });
            }
        }
        let pods: BTreeSet<&String> = self.mirror.pods.values().map(|pod| &pod.uid).collect();
        self.draining.retain(|membership, _| pods.contains(&membership.pod));
        shut
    }

    /// Listens where it should and nowhere else.
    async fn set_addresses(&mut self, plan: &Plan) {
        let mut wanted: BTreeMap<SocketAddrV4, (&RouteKey, Mode)> = BTreeMap::new();
        for (key, route) in &plan.routes {
            wanted.extend(route.listen.iter().map(|address| (*address, (key, route.mode))));
        }
        let goes = |(at, a): &(&SocketAddrV4, &Address)| wanted.get(at) != Some(&(&a.route, a.mode));
        let gone: Vec<SocketAddrV4> = self.addresses.iter().filter(goes).map(|(at, _)| *at).collect();
        for at in gone {
            if let Some(Address { listening: Ok(listener), .. }) = self.addresses.remove(&at) {
                listener.close().await;
            }
        }
        for (at, (key, mode)) in wanted {
            let Some(port) = self.ports.get(key).filter(|_| !self.addresses.contains_key(&at)) else {
                continue;
            };
            let listening = Listener::open(at, mode, port.clone()).map_err(|error| Trouble::of(at, &error));
            self.addresses.insert(at, Address { route: key.clone(), mode, listening });
        }
    }

    /// Tells users of addresses that could not be listened on, and that they can be now.
    fn tell_troubles(&mut self) {
        let mut troubles: BTreeMap<&ObjectKey, Vec<Trouble>> = BTreeMap::new();
        for address in self.addresses.values() {
            if let Err(trouble) = &address.listening {
                troubles.entry(&address.route.service).or_default().push(trouble.clone());
            }
        }
        let now = self.env.now();
        for (key, service) in &self.mirror.services {
            let found = troubles.remove(key).unwrap_or_default();
            let Some(condition) = tell::wanted(service, &found, now) else { continue };
            if !self.told.insert(key.clone()) {
                continue;
            }
            let telling = tell::tell(self.client.clone(), key.clone(), service.uid.clone(), condition, now);
            self.env.spawn("proxy tell", telling);
        }
    }

    /// Publishes the figures' rows: all endpoints that are listed, and those of which something is still open.
    fn show(&self, plan: &Plan) {
        let mut rows: BTreeMap<&ObjectKey, BTreeMap<UpstreamKey, Target>> = BTreeMap::new();
        for (id, known) in &self.upstreams {
            let target = Target { standing: Standing::Out, ..known.target.clone() };
            rows.entry(&id.route.service).or_default().insert(id.clone(), target);
        }
        for (key, route) in &plan.routes {
            let of_service = rows.entry(&key.service).or_default();
            of_service.extend(route.targets.iter().map(|t| (UpstreamKey::of(key, t), t.clone())));
        }
        let rows = rows.into_iter().map(|(service, endpoints)| Row {
            service: service.clone(),
            traffic: self.traffic.get(service).cloned().unwrap_or_else(|| Arc::new(Traffic::new())),
            endpoints: endpoints.into_iter().map(|(id, target)| self.shown(id, target)).collect(),
        });
        self.board.publish(rows.collect());
    }

    fn shown(&self, id: UpstreamKey, target: Target) -> Shown {
        let is_out = matches!(target.standing, Standing::Out | Standing::Leaving);
        Shown {
            draining: is_out && is_protected(&self.mirror, &id.route.service, &target),
            upstream: self.upstreams.get(&id).map(|known| known.upstream.clone()),
            port: id.route.port,
            target,
        }
    }

    /// Listens no more, and waits a while for what is open.
    async fn end(&mut self) {
        for (_, address) in std::mem::take(&mut self.addresses) {
            if let Ok(listener) = address.listening {
                listener.close().await;
            }
        }
        let all = u32::try_from(CLIENTS_MAX).expect("the limit is far below 2^32");
        let ended = async {
            let _ = self.shared.clients.acquire_many(all).await;
        };
        tokio::select! {
            () = ended => {}
            () = self.env.sleep(SHUTDOWN_MAX) => {
                let left = CLIENTS_MAX - self.shared.clients.available_permits();
                tracing::warn!(left, "connections of clients are still open; they end with the process");
            }
        }
    }
}

/// Whether the pod of an endpoint has the finalizer of this Service.
fn is_protected(mirror: &Mirror, service: &ObjectKey, target: &Target) -> bool {
    let pod = mirror.pods.get(&ObjectKey::new(&*service.namespace, &*target.pod.0));
    let finalizer = drain::protection_of(&service.name);
    pod.is_some_and(|pod| pod.uid == target.pod.1 && pod.finalizers.contains(&finalizer))
}

/// What to tell a client when a port leads nowhere.
fn why_empty(route: &Route) -> String {
    let count = |standing| route.targets.iter().filter(|t| t.standing == standing).count();
    let mut parts = Vec::new();
    if route.targets.is_empty() && route.elsewhere == 0 {
        return "the Service has no endpoints; look at its selector and its pods".to_owned();
    }
    for (standing, what) in [(Standing::Out, "not ready"), (Standing::Registering, "about to be registered")]
    {
        if count(standing) > 0 {
            parts.push(format!("{} {what}", count(standing)));
        }
    }
    if route.elsewhere > 0 {
        parts.push(format!(
            "{} outside of 127.0.0.0/8, where this proxy does not connect to",
            route.elsewhere
        ));
    }
    format!("endpoints: {}", parts.join(", "))
}
