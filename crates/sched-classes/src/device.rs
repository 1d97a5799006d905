//! Parts of devices: which GPUs of a node a pod gets, so that parts never add up over devices.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use api_koord::device::{DeviceAllocation, DeviceAllocations, Gpu, GpuAsk, GpuMemory};
use api_koord::names;
use sched_core::{NodeInfo, PodFact, Rejection, Slot};
use sched_plugins::Extra;
use serde_json::{Value, json};

use crate::words::PodWords;

/// All of one GPU, in percent.
const WHOLE: i64 = 100;
/// Koordinator's word for GPUs in `Device` and in what was given.
const GPU: &str = "gpu";

/// The rule: each node's GPUs with what is left of each. Says nothing about pods that ask for none.
///
/// GPUs are those of the node's Device; without one, as many as its `koordinator.sh/gpu-core` makes. Vendor GPUs of nodes without a
/// Device are their device plugin's to choose. A part goes where least is left; several GPUs are taken alike.
#[derive(Clone, Debug, Default)]
pub(crate) struct Devices {
    nodes: HashMap<Arc<str>, Vec<Gpu>>,
    asks: HashMap<Arc<str>, GpuAsk>,
    /// What pods hold, by node.
    held: HashMap<Arc<str>, BTreeMap<Arc<str>, Vec<Part>>>,
    homes: HashMap<Arc<str>, Arc<str>>,
}

/// A part of one GPU, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    minor: i32,
    core: i64,
    memory: i64,
}

impl Devices {
    /// What a node's Device says; nothing: it has none any more.
    pub(crate) fn set_node(&mut self, node: &str, gpus: Option<Vec<Gpu>>) {
        match gpus {
            Some(gpus) => self.nodes.insert(node.into(), gpus),
            None => self.nodes.remove(node),
        };
    }

    /// What a pod says.
    pub(crate) fn learn(&mut self, uid: &Arc<str>, words: Option<&PodWords>) {
        match words.and_then(|w| w.gpu) {
            Some(ask) => {
                self.asks.insert(uid.clone(), ask);
            }
            None if self.asks.is_empty() => {}
            None => {
                self.asks.remove(uid);
            }
        }
    }

    /// A pod was given devices on a node, by whomever. Percents that cannot be read count as nothing.
    pub(crate) fn hold(&mut self, uid: &Arc<str>, node: &str, given: &DeviceAllocations) {
        let percent = |a: &DeviceAllocation, name: &str| api_koord::Amounts::read(&a.resources).get(name);
        let part = |a: &DeviceAllocation| Part {
            minor: a.minor,
            core: percent(a, names::GPU_CORE),
            memory: percent(a, names::GPU_MEMORY_RATIO),
        };
        let parts: Vec<Part> = given.get(GPU).into_iter().flatten().map(part).collect();
        self.keep(uid, node, parts);
    }

    fn keep(&mut self, uid: &Arc<str>, node: &str, parts: Vec<Part>) {
        self.release(uid);
        if parts.is_empty() {
            return;
        }
        let node: Arc<str> = node.into();
        self.homes.insert(uid.clone(), node.clone());
        self.held.entry(node).or_default().insert(uid.clone(), parts);
    }

    /// A pod holds no devices any more.
    pub(crate) fn release(&mut self, uid: &str) {
        let Some(node) = self.homes.remove(uid) else { return };
        if let Some(pods) = self.held.get_mut(&node) {
            pods.remove(uid);
            if pods.is_empty() {
                self.held.remove(&node);
            }
        }
    }

    /// A pod is gone.
    pub(crate) fn forget(&mut self, uid: &str) {
        self.release(uid);
        self.asks.remove(uid);
    }

    /// The GPUs of a node with what is left of each. Nothing: they are not ours to choose.
    fn left(&self, node: &NodeInfo) -> Option<Vec<(Gpu, Part)>> {
        let gpus = match self.nodes.get(&*node.fact.name) {
            Some(gpus) => gpus.clone(),
            None => {
                let percent = node.fact.allocatable.extended(names::GPU_CORE);
                let count = i32::try_from(percent / WHOLE).unwrap_or(0);
                (0..count).map(|minor| Gpu { minor, memory: 0 }).collect()
            }
        };
        let is_known = !gpus.is_empty() || self.nodes.contains_key(&*node.fact.name);
        let whole = |gpu: Gpu| (gpu, Part { minor: gpu.minor, core: WHOLE, memory: WHOLE });
        let mut left: Vec<(Gpu, Part)> = gpus.into_iter().map(whole).collect();
        for part in self.held.get(&*node.fact.name).into_iter().flat_map(BTreeMap::values).flatten() {
            if let Some((_, left)) = left.iter_mut().find(|(gpu, _)| gpu.minor == part.minor) {
                left.core -= part.core;
                left.memory -= part.memory;
            }
        }
        is_known.then_some(left)
    }

    /// The parts that a pod gets, and what stays of the GPUs it touches, in percent. Nothing: there is no room.
    fn choose(ask: &GpuAsk, left: &[(Gpu, Part)]) -> Option<(Vec<Part>, i64)> {
        let mut fitting: Vec<(i64, Part)> =
            left.iter().filter_map(|(gpu, left)| fit(ask, *gpu, *left)).collect();
        fitting.sort();
        fitting.truncate(usize::from(ask.count));
        if fitting.len() < usize::from(ask.count) {
            return None;
        }
        let stays = fitting.iter().map(|(stays, _)| stays).sum();
        Some((fitting.into_iter().map(|(_, part)| part).collect(), stays))
    }

    /// Takes the devices of a pod on a node: what is to be written onto the pod. Nothing: it gets none from us. `Err`: there is no room.
    pub(crate) fn reserve(&mut self, pod: &PodFact, node: &NodeInfo) -> Result<Option<String>, &'static str> {
        let Some(ask) = self.asks.get(&pod.uid).copied() else { return Ok(None) };
        let Some(left) = self.left(node) else { return Ok(None) };
        let (parts, _) = Devices::choose(&ask, &left).ok_or(SHORT)?;
        let memory = |minor: i32| left.iter().find(|(g, _)| g.minor == minor).map_or(0, |(g, _)| g.memory);
        let given: Vec<Value> = parts.iter().map(|p| given(*p, memory(p.minor))).collect();
        self.keep(&pod.uid, &node.fact.name, parts);
        Ok(Some(json!({ GPU: given }).to_string()))
    }

    /// What each pod holds, as lines.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (node, pods) in &self.held {
            for (uid, parts) in pods {
                lines.push(format!("gpu {node} {uid}: {parts:?}"));
            }
        }
        lines.sort();
        lines
    }
}

const SHORT: &str = "Insufficient gpu devices";

/// The part of one GPU that an ask takes, and what stays of it in percent; nothing when too little is left.
fn fit(ask: &GpuAsk, gpu: Gpu, left: Part) -> Option<(i64, Part)> {
    let memory = match ask.memory {
        GpuMemory::Percent(percent) => i64::from(percent),
        GpuMemory::Bytes(_) if gpu.memory <= 0 => return None,
        // Rounded up: a part of a percent is taken from somebody.
        GpuMemory::Bytes(bytes) => {
            let all = i128::from(gpu.memory);
            i64::try_from((i128::from(bytes) * i128::from(WHOLE) + all - 1) / all).unwrap_or(i64::MAX)
        }
    };
    let core = i64::from(ask.core);
    let fits = core <= left.core && memory <= left.memory;
    let stays = (left.core - core).min(left.memory - memory);
    fits.then_some((stays, Part { minor: gpu.minor, core, memory }))
}

fn given(part: Part, memory: i64) -> Value {
    let mut resources = json!({
        names::GPU_CORE: part.core.to_string(),
        names::GPU_MEMORY_RATIO: part.memory.to_string(),
    });
    if memory > 0 {
        let bytes = i128::from(memory) * i128::from(part.memory) / i128::from(WHOLE);
        resources[names::GPU_MEMORY] = json!(bytes.to_string());
    }
    json!({"minor": part.minor, "resources": resources})
}

/// Whether a pod asks by Koordinator's names, so that a node without known devices can never do.
fn is_by_part(pod: &PodFact) -> bool {
    let of = |name: &str| pod.demand.requests.extended(name) > 0;
    [names::GPU, names::GPU_CORE, names::GPU_MEMORY, names::GPU_MEMORY_RATIO].into_iter().any(of)
}

impl Extra for Devices {
    fn name(&self) -> &'static str {
        "DeviceShare"
    }

    fn concerns(&self, pod: &PodFact) -> bool {
        !self.asks.is_empty() && self.asks.contains_key(&pod.uid)
    }

    fn check(&self, pod: &PodFact, _: Slot, node: &NodeInfo) -> Option<Rejection> {
        let ask = self.asks.get(&pod.uid)?;
        match self.left(node) {
            Some(left) => Devices::choose(ask, &left).is_none().then(|| Rejection::resolvable(SHORT)),
            None => is_by_part(pod).then(|| Rejection::lasting("node(s) missing Device")),
        }
    }

    /// How little stays of the GPUs that it would touch, 0 to 100.
    fn rate(&self, pod: &PodFact, _: Slot, node: &NodeInfo) -> i64 {
        let Some(ask) = self.asks.get(&pod.uid) else { return 0 };
        let chosen = self.left(node).and_then(|left| Some((Devices::choose(ask, &left)?.1, left)));
        chosen.map_or(0, |(stays, left)| {
            // Among nodes on which nothing stays of these, the one with fewer idle GPUs beside them.
            let idle = left.iter().filter(|(_, p)| p.core == WHOLE && p.memory == WHOLE).count();
            let idle =
                i64::try_from(idle).unwrap_or(i64::MAX).saturating_sub(i64::from(ask.count)).clamp(0, 16);
            (WHOLE - stays / i64::from(ask.count.max(1))).clamp(0, WHOLE) - 2 * idle
        })
    }

    fn normalize(&self, raws: &mut [i64]) {
        raws.iter_mut().for_each(|raw| *raw = (*raw).clamp(0, WHOLE));
    }
}
