//! The loop: mirrors in, looks at pods when their time comes, writes out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use api_client::{Class, Client, Consumer, Delta, Error, Reflector, Seen, WriteOptions};
use api_core::{Node, Pod, PodStatus, lost};
use api_meta::{Object, ObjectKey};
use futures_util::{StreamExt, stream};
use node_core::Shape;
use node_core::report::{self, Reasoned};
use stdx::{Env, Time};
use tokio::sync::mpsc;

use crate::address::{self, Block};
use crate::config::Config;
use crate::nodes;
use crate::row::{Images, Look, Row, Surroundings};
use crate::rules::{OWNER, Rules};
use crate::writes::{self, Fate, PodWrite};

/// Changes that may wait between a mirror and the loop.
const CHANGES_MAX: usize = 1024;
/// Wait before a refused write is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Leases are renewed in batches at least this far apart.
const LEASE_TICK: Duration = Duration::from_millis(100);

/// Registers the nodes and simulates them until the future is dropped.
///
/// # Errors
/// When the configuration asks for more nodes than there are addresses, or the server refuses the nodes for good.
pub async fn run(client: Client, env: Env, config: Config) -> Result<(), Error> {
    let client = client.named("knarr-node-sim");
    let nodes = register(&client, &env, &config).await?;
    tracing::info!(nodes = nodes.len(), owner = %config.owner, "simulated nodes registered");
    let (pods_in, pods) = mpsc::channel(CHANGES_MAX);
    let (nodes_in, node_changes) = mpsc::channel(CHANGES_MAX);
    let (done_in, done) = mpsc::unbounded_channel();
    let mirror = Reflector::new(client.clone(), env.clone(), Pod::RESOURCE).fields("spec.nodeName!=");
    env.spawn("sim pods mirror", mirror.run_into(Feed(pods_in)));
    let mirror = Reflector::new(client.clone(), env.clone(), Node::RESOURCE).labels("knarr.dev/runtime=sim");
    env.spawn("sim nodes mirror", mirror.run_into(Feed(nodes_in)));
    let sim = Sim::new(client, env, config, nodes, done_in);
    sim.run(pods, node_changes, done).await;
    Ok(())
}

/// Hands the changes of a mirror to the loop, and waits when it is behind.
struct Feed<T>(mpsc::Sender<Delta<T>>);

impl<T: Object> Consumer for Feed<T> {
    type Item = T;

    fn open(&self, json: &str) -> Result<Seen<T>, serde_json::Error> {
        let item = T::decode(json)?;
        let meta = item.meta();
        Ok(Seen { key: meta.key(), version: meta.resource_version.clone(), item })
    }

    async fn take(&mut self, delta: Delta<T>, _: u64) -> bool {
        self.0.send(delta).await.is_ok()
    }
}

/// One node.
struct NodeRow {
    number: usize,
    name: String,
    uid: String,
    host: String,
    block: Block,
    rules: Rules,
    /// False when somebody deleted the Node: it is then left alone.
    is_there: bool,
    is_reporting: bool,
}

/// A row and what the loop keeps beside it.
struct Slot {
    row: Row,
    wake: Option<Time>,
    /// Fingerprint of the status the server has.
    written: u64,
    reasoned: Reasoned,
    /// Whether its address is taken from its node's block.
    holds_address: bool,
    is_queued: bool,
    is_writing: bool,
    is_let_go: bool,
    /// The server shows the pod as not ready because its node was silent.
    is_marked: bool,
    told_again: Option<Time>,
}

impl Slot {
    /// Forgets what was written when somebody took the pod out of service because its node was silent: it is not any more, and
    /// it knows better. Tells when to try again if that was done a moment ago.
    fn insist(&mut self, status: &PodStatus, now: Time) -> Option<Time> {
        let is_ready = status.conditions.iter().any(|c| c.r#type == "Ready" && c.status == "True");
        if !self.is_marked || !is_ready {
            return None;
        }
        let next = self.told_again.map_or(now, |at| at + RETRY);
        if next > now {
            return Some(next);
        }
        self.is_marked = false;
        self.told_again = Some(now);
        self.written = 0;
        None
    }
}

enum Done {
    Pod { id: u32, uid: Box<str>, fate: Fate, written: u64, was_final: bool },
    Node { id: u32 },
    Lease,
}

struct Sim {
    client: Client,
    env: Env,
    config: Config,
    nodes: Vec<NodeRow>,
    node_names: BTreeMap<String, u32>,
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    keys: BTreeMap<Box<str>, u32>,
    timers: BTreeSet<(Time, u32)>,
    queue: VecDeque<u32>,
    writing: usize,
    leases: Leases,
    shapes: BTreeMap<u64, Arc<Shape>>,
    namespaces: BTreeSet<Arc<str>>,
    images: Images,
    done: mpsc::UnboundedSender<Done>,
}

/// When which Lease is due.
struct Leases {
    started: Time,
    issued: u64,
    next: Time,
    writing: usize,
}

impl Sim {
    fn new(
        client: Client,
        env: Env,
        config: Config,
        nodes: Vec<NodeRow>,
        done: mpsc::UnboundedSender<Done>,
    ) -> Sim {
        let now = env.now();
        let names = nodes.iter().enumerate().map(|(i, n)| (n.name.clone(), u32_of(i)));
        Sim {
            node_names: names.collect(),
            // The first round is due at once: how long they have not been renewed is not known.
            leases: Leases { started: now - config.lease_renewal, issued: 0, next: now, writing: 0 },
            client,
            env,
            config,
            nodes,
            slots: Vec::new(),
            free: Vec::new(),
            keys: BTreeMap::new(),
            timers: BTreeSet::new(),
            queue: VecDeque::new(),
            writing: 0,
            shapes: BTreeMap::new(),
            namespaces: BTreeSet::new(),
            images: Images::default(),
            done,
        }
    }

    async fn run(
        mut self,
        mut pods: mpsc::Receiver<Delta<Pod>>,
        mut nodes: mpsc::Receiver<Delta<Node>>,
        mut done: mpsc::UnboundedReceiver<Done>,
    ) {
        loop {
            self.elapse();
            self.write();
            let now = self.env.now();
            let next = self.timers.first().map_or(self.leases.next, |(at, _)| (*at).min(self.leases.next));
            let sleep = self.env.sleep(next.since(now));
            tokio::select! {
                biased;
                Some(done) = done.recv() => self.written(done),
                Some(delta) = nodes.recv() => self.node(delta),
                delta = pods.recv() => match delta {
                    Some(delta) => self.pod(delta),
                    None => return,
                },
                () = sleep => {}
            }
        }
    }

    /// Looks at every pod whose time has come and renews the Leases that are due.
    fn elapse(&mut self) {
        let now = self.env.now();
        while let Some((at, id)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, id));
            if let Some(slot) = &mut self.slots[id as usize] {
                slot.wake = None;
            }
            self.look(id);
        }
        if self.leases.next <= now {
            self.renew(now);
        }
    }

    fn pod(&mut self, delta: Delta<Pod>) {
        match delta {
            Delta::Applied(pod) => self.applied(&pod),
            Delta::Deleted(key) => self.forget(&key),
            Delta::Synced(_) => self.sweep(),
        }
    }

    fn applied(&mut self, pod: &Pod) {
        let key = pod.metadata.key();
        let Some(node) = self.node_names.get(&pod.spec.node_name).copied() else { return };
        if !self.nodes[node as usize].is_there {
            return;
        }
        let known = self.keys.get(text(&key).as_str()).copied();
        let is_same = known.is_some_and(|id| {
            self.slots[id as usize].as_ref().is_some_and(|s| *s.row.uid == *pod.metadata.uid)
        });
        if !is_same {
            self.forget(&key);
        }
        let shape = self.shape(pod);
        let id = match known.filter(|_| is_same) {
            Some(id) => id,
            None => self.adopt(&key, pod, node, shape.clone()),
        };
        if let Some(slot) = &mut self.slots[id as usize] {
            slot.row.update(pod, shape);
            slot.is_marked = is_same && lost::is_marked(pod);
        }
        let look = self.look(id);
        let (Some(slot), Some(look)) = (&mut self.slots[id as usize], look) else { return };
        if !is_same || lost::is_marked(pod) {
            slot.reasoned |= report::reasoned_at_server(&look.status, &pod.status);
        }
        if is_same {
            return;
        }
        if report::is_told(&look.status, &pod.status) {
            slot.written = report::fingerprint(&look.status);
        }
    }

    /// Makes a row for a pod seen for the first time.
    fn adopt(&mut self, key: &ObjectKey, pod: &Pod, node: u32, shape: Arc<Shape>) -> u32 {
        let namespace = self.namespaces.get(key.namespace.as_str()).cloned().unwrap_or_else(|| {
            let new: Arc<str> = key.namespace.as_str().into();
            self.namespaces.insert(new.clone());
            new
        });
        let mut row = Row::new(pod, namespace, node, shape);
        let NodeRow { block, host, .. } = &mut self.nodes[node as usize];
        match row.address {
            _ if pod.spec.host_network => row.address = host.parse().ok(),
            Some(address) if !row.is_finished() => block.keep(address),
            Some(_) => {}
            None => row.address = block.take(),
        }
        let slot = Slot {
            holds_address: !row.is_finished() && !pod.spec.host_network,
            row,
            wake: None,
            written: 0,
            reasoned: 0,
            is_queued: false,
            is_writing: false,
            is_let_go: false,
            is_marked: false,
            told_again: None,
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.slots[id as usize] = Some(slot);
                id
            }
            None => {
                self.slots.push(Some(slot));
                u32_of(self.slots.len() - 1)
            }
        };
        self.keys.insert(text(key).into(), id);
        id
    }

    fn forget(&mut self, key: &ObjectKey) {
        let Some(id) = self.keys.remove(text(key).as_str()) else { return };
        let Some(slot) = self.slots[id as usize].take() else { return };
        if let Some(at) = slot.wake {
            self.timers.remove(&(at, id));
        }
        if let Some(address) = slot.row.address.filter(|_| slot.holds_address) {
            self.nodes[slot.row.node as usize].block.free(address);
        }
        self.free.push(id);
    }

    /// Drops shapes that no pod has any more; templates come and go.
    fn sweep(&mut self) {
        self.shapes.retain(|_, shape| Arc::strong_count(shape) > 1);
    }

    /// The shape of a pod, shared with all pods of the same template.
    fn shape(&mut self, pod: &Pod) -> Arc<Shape> {
        let mut hasher = DefaultHasher::new();
        let spec = &pod.spec;
        let parts = (&spec.containers, &spec.init_containers, &spec.readiness_gates, &spec.resources);
        serde_json::to_vec(&parts).expect("a spec is plain data").hash(&mut hasher);
        spec.restart_policy.hash(&mut hasher);
        (spec.termination_grace_period_seconds, spec.active_deadline_seconds).hash(&mut hasher);
        self.shapes.entry(hasher.finish()).or_insert_with(|| Arc::new(Shape::of(spec))).clone()
    }

    /// Moves a pod to now, notes when to look again, and queues a write when there is news.
    fn look(&mut self, id: u32) -> Option<Look> {
        let now = self.env.now();
        let slot = self.slots[id as usize].as_mut()?;
        let node = &mut self.nodes[slot.row.node as usize];
        if node.rules.is_offline {
            return None;
        }
        let mut around = Surroundings {
            timings: &self.config.timings,
            rng: &*self.env.rng,
            node_rules: &node.rules,
            host: &node.host,
            images: &mut self.images,
        };
        let mut look = slot.row.look(&mut around, now);
        let again = slot.insist(&look.status, now);
        look.wake = look.wake.into_iter().chain(again).min();
        if let Some(at) = slot.wake.take() {
            self.timers.remove(&(at, id));
        }
        if let Some(at) = look.wake {
            self.timers.insert((at, id));
            slot.wake = Some(at);
        }
        if slot.row.is_finished() {
            // The status keeps the address; the block may give it to another.
            let held = std::mem::replace(&mut slot.holds_address, false);
            if let Some(address) = slot.row.address.filter(|_| held) {
                node.block.free(address);
            }
        }
        let is_news = slot.written != report::fingerprint(&look.status);
        if (is_news || (look.is_over && !slot.is_let_go)) && !slot.is_queued && !slot.is_writing {
            slot.is_queued = true;
            self.queue.push_back(id);
        }
        Some(look)
    }

    /// Starts queued writes as far as the limit goes.
    fn write(&mut self) {
        while self.writing < self.config.writes_max {
            let Some(id) = self.queue.pop_front() else { return };
            match &mut self.slots[id as usize] {
                Some(slot) if slot.is_queued => slot.is_queued = false,
                _ => continue,
            }
            let Some(look) = self.look_quietly(id) else { continue };
            let Some(slot) = &mut self.slots[id as usize] else { continue };
            let written = report::fingerprint(&look.status);
            let is_final = look.is_over && !slot.is_let_go;
            if written == slot.written && !is_final {
                continue;
            }
            let body = report::of(&slot.row.uid, &look.status, slot.reasoned);
            slot.reasoned |= report::reasoned(&look.status);
            slot.is_writing = true;
            self.writing += 1;
            let write = PodWrite {
                namespace: slot.row.namespace.to_string(),
                name: slot.row.name.to_string(),
                uid: slot.row.uid.to_string(),
                patch: (written != slot.written).then_some(body),
                is_final,
            };
            let (client, done, uid) = (self.client.clone(), self.done.clone(), slot.row.uid.clone());
            self.env.spawn("sim write", async move {
                let fate = write.run(&client).await;
                let _ = done.send(Done::Pod { id, uid, fate, written, was_final: is_final });
            });
        }
    }

    /// A look whose news is about to be written.
    fn look_quietly(&mut self, id: u32) -> Option<Look> {
        self.slots[id as usize].as_mut()?.is_writing = true;
        let look = self.look(id);
        self.slots[id as usize].as_mut()?.is_writing = false;
        look
    }

    fn written(&mut self, done: Done) {
        match done {
            Done::Lease => self.leases.writing -= 1,
            Done::Node { id } => self.nodes[id as usize].is_reporting = false,
            Done::Pod { id, uid, fate, written, was_final } => {
                self.writing -= 1;
                let Some(slot) = self.slots[id as usize].as_mut().filter(|s| s.row.uid == uid) else {
                    return;
                };
                slot.is_writing = false;
                match fate {
                    Fate::Settled => {
                        slot.written = written;
                        slot.is_let_go |= was_final;
                        self.look(id);
                    }
                    Fate::Retry => {
                        let at = self.env.now() + RETRY;
                        if let Some(old) = slot.wake.replace(at) {
                            self.timers.remove(&(old, id));
                        }
                        self.timers.insert((at, id));
                    }
                }
            }
        }
    }

    fn node(&mut self, delta: Delta<Node>) {
        match delta {
            Delta::Applied(node) => self.node_applied(&node),
            Delta::Deleted(key) => {
                let Some(id) = self.node_names.get(&key.name).copied() else { return };
                tracing::info!(node = %key.name, "simulated node was deleted; it is left alone");
                self.nodes[id as usize].is_there = false;
                for slot in self.pods_of(id) {
                    let row = self.slots[slot as usize].as_ref().map(|s| &s.row);
                    let key = row.map(|r| ObjectKey::new(&*r.namespace, &*r.name));
                    key.iter().for_each(|key| self.forget(key));
                }
            }
            Delta::Synced(_) => {}
        }
    }

    fn node_applied(&mut self, object: &Node) {
        let Some(id) = self.node_names.get(&object.metadata.name).copied() else { return };
        let node = &mut self.nodes[id as usize];
        let is_ours = object.metadata.annotations.get(OWNER).is_some_and(|o| *o == self.config.owner);
        node.is_there = is_ours;
        if !is_ours {
            return;
        }
        node.uid.clone_from(&object.metadata.uid);
        let rules = Rules::of(&object.metadata.annotations);
        let is_ready = object.status.conditions.iter().any(|c| c.r#type == "Ready" && c.status == "True");
        if !is_ready && !node.is_reporting && !rules.is_offline {
            self.report_node(id);
        }
        if !rules.is_offline {
            self.untaint(id, object);
        }
        if std::mem::replace(&mut self.nodes[id as usize].rules, rules.clone()) != rules {
            for pod in self.pods_of(id) {
                self.look(pod);
            }
        }
    }

    fn pods_of(&self, node: u32) -> Vec<u32> {
        let is_there = |i: &usize| self.slots[*i].as_ref().is_some_and(|s| s.row.node == node);
        (0..self.slots.len()).filter(is_there).map(u32_of).collect()
    }

    /// Tells the server that a node is fine, when it thinks otherwise.
    fn report_node(&mut self, id: u32) {
        let node = &mut self.nodes[id as usize];
        node.is_reporting = true;
        let address = address::of_node(u32_of(node.number));
        let now = self.env.now();
        let status = nodes::status(&self.config, &node.name, address, now);
        let lease = nodes::lease(&self.config, &node.name, &node.uid, now);
        let (client, done) = (self.client.clone(), self.done.clone());
        let (name, uid) = (node.name.clone(), node.uid.clone());
        self.env.spawn("sim node status", async move {
            // The Lease first: a node that says it is ready and does not renew would be doubted at once.
            writes::renew_lease(&client, &name, lease).await;
            writes::node_status(&client, &name, &uid, status).await;
            let _ = done.send(Done::Node { id });
        });
    }

    /// Takes the not-ready taint off a node that the server knows to be ready.
    fn untaint(&mut self, id: u32, object: &Node) {
        let node = &mut self.nodes[id as usize];
        let Some(patch) = report::untaint(object).filter(|_| !node.is_reporting) else { return };
        node.is_reporting = true;
        let (client, done, name) = (self.client.clone(), self.done.clone(), node.name.clone());
        self.env.spawn("sim node taint", async move {
            writes::untaint(&client, &name, patch).await;
            let _ = done.send(Done::Node { id });
        });
    }

    /// Renews the Leases that are due: each node once per renewal time, evenly spread.
    fn renew(&mut self, now: Time) {
        let count = self.nodes.len() as u128;
        self.leases.next = now + LEASE_TICK.max(self.config.lease_renewal / u32_of(self.nodes.len().max(1)));
        let renewal = self.config.lease_renewal.as_micros().max(1);
        let due = 1 + now.since(self.leases.started).as_micros() * count / renewal;
        let due = u64::try_from(due).unwrap_or(u64::MAX);
        // After an outage one round is enough: what was missed is past.
        self.leases.issued = self.leases.issued.max(due.saturating_sub(self.nodes.len() as u64));
        while self.leases.issued < due && count > 0 {
            if self.leases.writing >= self.config.writes_max {
                return;
            }
            let id = usize::try_from(self.leases.issued % self.nodes.len() as u64).unwrap_or(0);
            self.leases.issued += 1;
            let node = &self.nodes[id];
            if !node.is_there || node.rules.is_offline {
                continue;
            }
            self.leases.writing += 1;
            let lease = nodes::lease(&self.config, &node.name, &node.uid, now);
            let (client, done, name) = (self.client.clone(), self.done.clone(), node.name.clone());
            self.env.spawn("sim lease", async move {
                writes::renew_lease(&client, &name, lease).await;
                let _ = done.send(Done::Lease);
            });
        }
    }
}

fn text(key: &ObjectKey) -> String {
    format!("{}/{}", key.namespace, key.name)
}

fn u32_of(n: usize) -> u32 {
    u32::try_from(n).expect("fewer pods and nodes than fit in memory")
}

/// Makes the nodes that are not there yet. Nodes of the same name that belong to somebody else are left alone.
async fn register(client: &Client, env: &Env, config: &Config) -> Result<Vec<NodeRow>, Error> {
    let pods = config.capacity.get("pods").and_then(|p| p.parse().ok()).unwrap_or(110);
    let size = address::block_size(u32_of(config.nodes), pods);
    let rows = stream::iter(0..config.nodes).map(|number| {
        let block = Block::new(u32_of(number), size);
        register_one(client, env, config, number, block)
    });
    let rows: Vec<Result<NodeRow, Error>> = rows.buffered(config.writes_max.max(1)).collect().await;
    rows.into_iter().collect()
}

/// Tries until the server answers.
async fn register_one(
    client: &Client,
    env: &Env,
    config: &Config,
    number: usize,
    block: Block,
) -> Result<NodeRow, Error> {
    let host = address::of_node(u32_of(number));
    let node = loop {
        match make_node(client, env, config, number).await {
            Ok(node) => break node,
            Err(error) if matches!(error.class(), Class::Transient | Class::Conflict | Class::NotFound) => {
                tracing::debug!(%error, "node not registered yet");
                env.sleep(RETRY).await;
            }
            Err(error) => return Err(error),
        }
    };
    let is_there = node.metadata.annotations.get(OWNER).is_some_and(|o| *o == config.owner);
    if !is_there {
        tracing::warn!(node = %node.metadata.name, "a node of this name belongs to somebody else; it is left alone");
    }
    Ok(NodeRow {
        number,
        name: node.metadata.name,
        uid: node.metadata.uid,
        host: host.to_string(),
        block,
        rules: Rules::of(&node.metadata.annotations),
        is_there,
        is_reporting: false,
    })
}

async fn make_node(client: &Client, env: &Env, config: &Config, number: usize) -> Result<Node, Error> {
    let object = nodes::object(config, number, address::of_node(u32_of(number)), env.now());
    let made: Result<Node, Error> =
        client.create(&Node::RESOURCE, "", &object, &WriteOptions::default()).await;
    let node = match made {
        Err(error) if error.class() == Class::Exists => {
            client.get::<Node>(&Node::RESOURCE, "", &nodes::name(config, number)).await?
        }
        other => other?,
    };
    // Not every server takes the status along with a creation.
    if node.status.conditions.is_empty() && node.metadata.annotations.get(OWNER) == Some(&config.owner) {
        writes::node_status(client, &node.metadata.name, &node.metadata.uid, object["status"].clone()).await;
    }
    if let Some(patch) = report::untaint(&node) {
        writes::untaint(client, &node.metadata.name, patch).await;
    }
    Ok(node)
}
