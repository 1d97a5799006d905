//! Devices: Koordinator's `Device` object, what pods ask of GPUs, and which they were given.

use std::collections::BTreeMap;

use api_core::Pod;
use api_meta::{Object, ObjectMeta, Resource};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Amounts, Unreadable, json, names, requests};

/// `Device` (scheduling.koordinator.sh/v1alpha1): the devices of one node; the fields that are read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Device {
    /// Metadata; named like its node.
    pub metadata: ObjectMeta,
    /// What there is.
    pub spec: DeviceSpec,
}

impl Object for Device {
    const RESOURCE: Resource =
        Resource::cluster("scheduling.koordinator.sh", "v1alpha1", "devices", "Device");

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn decode(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

/// What there is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceSpec {
    /// One row for each device.
    pub devices: Vec<DeviceInfo>,
}

/// One device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceInfo {
    /// `gpu`, `rdma` or `fpga`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its number among those of its kind.
    pub minor: i32,
    /// Whether it works.
    pub health: bool,
    /// What it has.
    pub resources: BTreeMap<String, Value>,
}

/// A GPU that works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gpu {
    /// Its number.
    pub minor: i32,
    /// Bytes of its memory; 0 when unknown.
    pub memory: i64,
}

impl Device {
    /// GPUs that work, by number.
    pub fn gpus(&self) -> Vec<Gpu> {
        let works = self.spec.devices.iter().filter(|d| d.kind == "gpu" && d.health);
        let gpu = |d: &DeviceInfo| Gpu {
            minor: d.minor,
            memory: Amounts::read(&d.resources).get(names::GPU_MEMORY),
        };
        let mut gpus: Vec<Gpu> = works.map(gpu).collect();
        gpus.sort();
        gpus.dedup_by_key(|g| g.minor);
        gpus
    }
}

/// What a pod asks of GPUs. Units: percent of a GPU, or bytes of its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GpuAsk {
    /// How many GPUs.
    pub count: u8,
    /// Percent of each one's compute, 0 to 100.
    pub core: u8,
    /// What it takes of each one's memory.
    pub memory: GpuMemory,
}

/// What is taken of one GPU's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GpuMemory {
    /// Percent, 1 to 100.
    Percent(u8),
    /// Bytes.
    Bytes(i64),
}

impl GpuAsk {
    /// What a pod asks for, in Koordinator's combinations: compute and memory, either by percent or by bytes; memory alone;
    /// `koordinator.sh/gpu`; whole vendor GPUs. Nothing when it asks for none.
    ///
    /// # Errors
    /// Compute without memory, memory in both units, more than one GPU that is not whole: upstream allows none of them.
    pub fn of(pod: &Pod) -> Result<Option<GpuAsk>, Unreadable> {
        let asked = requests(pod);
        let of = |name: &str| asked.get(name);
        let whole = of(names::NVIDIA_GPU);
        let (mut core, mut ratio, bytes) =
            (of(names::GPU_CORE), of(names::GPU_MEMORY_RATIO), of(names::GPU_MEMORY));
        if core == 0 && ratio == 0 && bytes == 0 {
            (core, ratio) = match (of(names::GPU), whole) {
                (0, 0) => return Ok(None),
                (0, whole) => (whole.saturating_mul(100), whole.saturating_mul(100)),
                (percent, _) => (percent, percent),
            };
        }
        match (ratio, bytes) {
            (0, 0) => Err(Unreadable::new(names::GPU_CORE, "needs GPU memory beside it")),
            (0, bytes) => GpuAsk::by_bytes(core, bytes),
            (ratio, 0) => GpuAsk::by_percent(core, ratio),
            _ => Err(Unreadable::new(names::GPU_MEMORY, "and a ratio of memory exclude each other")),
        }
        .map(Some)
    }

    fn by_percent(core: i64, ratio: i64) -> Result<GpuAsk, Unreadable> {
        let count = devices(names::GPU_MEMORY_RATIO, ratio)?;
        let per = |total: i64| total / i64::from(count);
        let name = names::GPU_CORE;
        if core % i64::from(count) != 0 || per(core) > 100 {
            return Err(Unreadable::new(name, "must be as many GPUs as the memory is"));
        }
        let (core, ratio) = (narrow(name, per(core))?, narrow(names::GPU_MEMORY_RATIO, per(ratio))?);
        Ok(GpuAsk { count, core, memory: GpuMemory::Percent(ratio) })
    }

    fn by_bytes(core: i64, bytes: i64) -> Result<GpuAsk, Unreadable> {
        let count = if core > 100 { devices(names::GPU_CORE, core)? } else { 1 };
        let core = narrow(names::GPU_CORE, core / i64::from(count))?;
        Ok(GpuAsk { count, core, memory: GpuMemory::Bytes(bytes / i64::from(count)) })
    }
}

/// How many GPUs a percentage stands for: one up to 100, above it as many as it is a multiple of 100.
fn devices(name: &str, percent: i64) -> Result<u8, Unreadable> {
    match percent {
        1..=100 => Ok(1),
        _ if percent > 0 && percent % 100 == 0 => narrow(name, percent / 100),
        _ => Err(Unreadable::new(name, format!("{percent} is neither at most 100 nor a multiple of it"))),
    }
}

fn narrow(name: &str, number: i64) -> Result<u8, Unreadable> {
    u8::try_from(number).map_err(|_| Unreadable::new(name, format!("{number} is too much")))
}

/// What was given ([`names::DEVICE_ALLOCATED`]), by kind of device.
pub type DeviceAllocations = BTreeMap<String, Vec<DeviceAllocation>>;

/// A part of one device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeviceAllocation {
    /// Its number.
    pub minor: i32,
    /// How much of it.
    pub resources: BTreeMap<String, Value>,
}

/// Reads what a pod was given.
///
/// # Errors
/// When the annotation is no such JSON.
pub fn allocations(pod: &Pod) -> Result<DeviceAllocations, Unreadable> {
    json(&pod.metadata.annotations, names::DEVICE_ALLOCATED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ask(requests: Value) -> Result<Option<GpuAsk>, Unreadable> {
        let pod = json!({"spec": {"containers": [{"name": "c", "resources": {"requests": requests}}]}});
        GpuAsk::of(&serde_json::from_value(pod).unwrap())
    }

    fn gpus(count: u8, core: u8, percent: u8) -> Result<Option<GpuAsk>, Unreadable> {
        Ok(Some(GpuAsk { count, core, memory: GpuMemory::Percent(percent) }))
    }

    #[test]
    fn gpus_are_asked_for_in_koordinator_s_combinations() {
        assert_eq!(ask(json!({"cpu": "1"})), Ok(None));
        assert_eq!(ask(json!({"nvidia.com/gpu": 2})), gpus(2, 100, 100));
        assert_eq!(ask(json!({"koordinator.sh/gpu": 50})), gpus(1, 50, 50));
        assert_eq!(
            ask(json!({"koordinator.sh/gpu-core": 30, "koordinator.sh/gpu-memory-ratio": 60})),
            gpus(1, 30, 60)
        );
        assert_eq!(
            ask(json!({"koordinator.sh/gpu-core": 200, "koordinator.sh/gpu-memory-ratio": 200})),
            gpus(2, 100, 100)
        );
        assert_eq!(ask(json!({"koordinator.sh/gpu-memory-ratio": 40})), gpus(1, 0, 40));
        let bytes = GpuAsk { count: 1, core: 30, memory: GpuMemory::Bytes(1 << 30) };
        assert_eq!(
            ask(json!({"koordinator.sh/gpu-core": 30, "koordinator.sh/gpu-memory": "1Gi"})),
            Ok(Some(bytes))
        );
    }

    #[test]
    fn other_combinations_are_refused() {
        assert!(ask(json!({"koordinator.sh/gpu-core": 50})).is_err());
        assert!(ask(json!({"koordinator.sh/gpu": 150})).is_err());
        assert!(
            ask(json!({"koordinator.sh/gpu-memory": "1Gi", "koordinator.sh/gpu-memory-ratio": 50})).is_err()
        );
        assert!(
            ask(json!({"koordinator.sh/gpu-core": 300, "koordinator.sh/gpu-memory-ratio": 200})).is_err()
        );
    }

    #[test]
    fn only_gpus_that_work_are_there() {
        let device = json!({"metadata": {"name": "n"}, "spec": {"devices": [
            {"type": "gpu", "minor": 1, "health": true, "resources": {"koordinator.sh/gpu-memory": "8Gi"}},
            {"type": "gpu", "minor": 0, "health": false}, {"type": "rdma", "minor": 2, "health": true}]}});
        let device = Device::decode(&device.to_string()).unwrap();
        assert_eq!(device.gpus(), [Gpu { minor: 1, memory: 8 << 30 }]);
    }
}
