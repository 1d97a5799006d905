//! What nodes and pods say about devices, in the words of three ecosystems.
//!
//! | | node, allocatable | pod, requests |
//! |---|---|---|
//! | vendors | `nvidia.com/gpu: 8`, `amd.com/gpu`, `dcu.com/gpu` | the same, whole devices |
//! | Koordinator | `koordinator.sh/gpu-core: 800`, or the older `koordinator.sh/gpu` | percent: below 100 a part of one, else a multiple of 100 |
//! | open-gpu-share | `alibabacloud.com/gpu-count: 8` | annotations `alibabacloud.com/gpu-milli`, `alibabacloud.com/gpu-count` |

use std::collections::BTreeMap;

use api_core::{Node, Pod, ResourceRequirements};
use sched_device::{DEVICES_MAX, Model, ModelNames, Models, Shape, WHOLE};

const VENDORS: [&str; 3] = ["nvidia.com/gpu", "amd.com/gpu", "dcu.com/gpu"];
const PERCENT: [&str; 2] = ["koordinator.sh/gpu-core", "koordinator.sh/gpu"];
const COUNT: &str = "alibabacloud.com/gpu-count";
const MILLI: &str = "alibabacloud.com/gpu-milli";
/// Labels of nodes, and the annotation of pods, that name models.
const MODEL_LABELS: [&str; 3] =
    ["node.koordinator.sh/gpu-model", "alibabacloud.com/gpu-card-model", "nvidia.com/gpu.product"];
const MODEL: &str = "alibabacloud.com/gpu-card-model";

/// Number and model of a node's devices.
pub(super) fn of_node(node: &Node, names: &mut ModelNames) -> Result<(usize, Option<Model>), String> {
    let list = ResourceRequirements { requests: node.status.allocatable.clone(), ..Default::default() };
    let amount = |name: &str| list.request(name).map_or(0, |q| q.units());
    let whole = VENDORS.iter().map(|v| amount(v)).max().unwrap_or(0).max(amount(COUNT));
    let percent = PERCENT.iter().map(|p| amount(p)).max().unwrap_or(0);
    let devices = usize::try_from(whole.max(percent / 100)).unwrap_or(0);
    if devices > DEVICES_MAX {
        return Err(format!(
            "node {}: {devices} devices, at most {DEVICES_MAX} are supported",
            node.metadata.name
        ));
    }
    let text = MODEL_LABELS.iter().find_map(|l| node.metadata.labels.get(*l)).map_or("", String::as_str);
    let model = names.model(text).map_err(|e| format!("node {}: {e}", node.metadata.name))?;
    Ok((devices, model))
}

/// What a pod asks of devices, beside its CPU; memory is left to the core.
pub(super) fn of_pod(pod: &Pod, cpu_milli: i64, names: &mut ModelNames) -> Result<Shape, String> {
    let (devices, milli) = parts(pod).map_err(|why| format!("pod {}: {why}", pod.metadata.key()))?;
    let spec = pod.metadata.annotations.get(MODEL).map_or("", String::as_str);
    let models = if devices == 0 { Models::ANY } else { names.models(spec).map_err(|e| e.to_string())? };
    Ok(Shape { cpu_milli, memory_mib: 0, devices, milli, models })
}

/// Number of devices and thousandths of each.
fn parts(pod: &Pod) -> Result<(u8, u16), String> {
    let all = &pod.spec.containers;
    let sum = |name: &str| -> i64 {
        let of =
            |r: &ResourceRequirements| r.request(name).or_else(|| r.limit(name)).map_or(0, |q| q.units());
        all.iter().map(|c| of(&c.resources)).sum()
    };
    if let Some(milli) = annotation(&pod.metadata.annotations, MILLI)? {
        let count = annotation(&pod.metadata.annotations, COUNT)?.unwrap_or(1);
        return within(count, milli, MILLI);
    }
    if let Some(name) = PERCENT.into_iter().find(|p| sum(p) > 0) {
        let percent = sum(name);
        return match percent {
            1..=99 => within(1, percent * 10, name),
            _ if percent % 100 == 0 => within(percent / 100, i64::from(WHOLE), name),
            _ => Err(format!("{name}: {percent} is neither below 100 nor a multiple of it")),
        };
    }
    match VENDORS.into_iter().find(|v| sum(v) > 0) {
        Some(name) => within(sum(name), i64::from(WHOLE), name),
        None => Ok((0, 0)),
    }
}

fn annotation(map: &BTreeMap<String, String>, name: &str) -> Result<Option<i64>, String> {
    let number =
        |text: &String| text.trim().parse().map_err(|_| format!("{name}: not a whole number: {text:?}"));
    map.get(name).map(number).transpose()
}

fn within(devices: i64, milli: i64, name: &str) -> Result<(u8, u16), String> {
    if devices == 0 || milli == 0 {
        return Ok((0, 0));
    }
    let parts = u8::try_from(devices).ok().zip(u16::try_from(milli).ok());
    let fits = parts.filter(|(d, m)| usize::from(*d) <= DEVICES_MAX && *m <= WHOLE);
    fits.ok_or_else(|| format!("{name}: {milli}/1000 of each of {devices} devices is not supported"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn asked(requests: Value, annotations: Value) -> Result<(u8, u16), String> {
        let pod = json!({"metadata": {"name": "p", "annotations": annotations},
            "spec": {"containers": [{"name": "c", "resources": {"requests": requests}}]}});
        parts(&serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn three_ecosystems_are_understood() {
        assert_eq!(asked(json!({"nvidia.com/gpu": "2"}), json!({})), Ok((2, 1000)));
        assert_eq!(asked(json!({"koordinator.sh/gpu-core": "50"}), json!({})), Ok((1, 500)));
        assert_eq!(asked(json!({"koordinator.sh/gpu": 200}), json!({})), Ok((2, 1000)));
        assert_eq!(asked(json!({}), json!({MILLI: "460", COUNT: "1"})), Ok((1, 460)));
        assert_eq!(asked(json!({"cpu": "1"}), json!({})), Ok((0, 0)));
    }

    #[test]
    fn impossible_parts_are_refused_by_name() {
        assert!(asked(json!({"koordinator.sh/gpu-core": 150}), json!({})).unwrap_err().contains("multiple"));
        assert!(asked(json!({}), json!({MILLI: "x"})).unwrap_err().contains("not a whole number"));
        assert!(asked(json!({}), json!({MILLI: "1500"})).unwrap_err().contains("1500/1000"));
    }

    #[test]
    fn nodes_say_how_many_devices_of_which_model_they_have() {
        let node = |allocatable: Value| {
            let node = json!({"metadata": {"name": "n", "labels": {"node.koordinator.sh/gpu-model": "T4"}}, "status": {"allocatable": allocatable}});
            of_node(&serde_json::from_value(node).unwrap(), &mut ModelNames::default())
                .map(|(d, m)| (d, m.is_some()))
        };
        assert_eq!(node(json!({"nvidia.com/gpu": "8"})), Ok((8, true)));
        assert_eq!(node(json!({"koordinator.sh/gpu-core": "400"})), Ok((4, true)));
        assert!(node(json!({"nvidia.com/gpu": "64"})).unwrap_err().contains("at most 16"));
    }
}
