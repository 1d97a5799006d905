//! What Koordinator's validating webhook refuses in a pod, in its words and order, and what we refuse of our own words.

use api_core::Pod;
use api_meta::Cause;

use crate::apart::CpuRules;
use crate::{Amounts, Qos, Tier, names, requests};

/// Everything wrong with a pod; `old` is what it was before a change. Empty: it may pass.
///
/// Quality of service, tier and sub-priority never change; batch resources need BE; BE is no production; LSR and LSE are
/// production with whole CPUs. Ours: words for CPUs must be readable.
pub fn validate(new: &Pod, old: Option<&Pod>) -> Vec<Cause> {
    let mut causes = Vec::new();
    if let Some(old) = old {
        causes.extend(immutable(old, new));
    }
    causes.extend(batch_needs_be(new));
    causes.extend(forbidden(new, Qos::Be, &[None, Some(Tier::Prod)]));
    causes.extend(forbidden(new, Qos::Lsr, &[None, Some(Tier::Mid), Some(Tier::Batch), Some(Tier::Free)]));
    causes.extend(whole_cpus(new));
    causes.extend(our_words(new));
    causes
}

/// The findings as one sentence, joined as Kubernetes joins aggregated errors.
pub fn sentence(causes: &[Cause]) -> String {
    let each: Vec<String> = causes.iter().map(|c| format!("{}: {}", c.field, c.message)).collect();
    match each.as_slice() {
        [one] => one.clone(),
        _ => format!("[{}]", each.join(", ")),
    }
}

fn cause(reason: &str, field: impl Into<String>, message: String) -> Cause {
    Cause { reason: reason.to_owned(), message, field: field.into() }
}

fn immutable(old: &Pod, new: &Pod) -> Vec<Cause> {
    let qos = |p: &Pod| Qos::labelled(p).map_or("", Qos::as_str).to_owned();
    let tier = |p: &Pod| Tier::said(p).map_or("", Tier::as_str).to_owned();
    let sub = |p: &Pod| p.metadata.labels.get(names::SUB_PRIORITY).cloned().unwrap_or_default();
    let fields = [
        (format!("labels.{}", names::QOS), qos(old), qos(new)),
        ("spec.priority".to_owned(), tier(old), tier(new)),
        (format!("labels.{}", names::SUB_PRIORITY), sub(old), sub(new)),
    ];
    let changed = fields.into_iter().filter(|(_, old, new)| old != new);
    let told = |(field, _, new): (String, String, String)| {
        cause("FieldValueInvalid", field, format!("Invalid value: {new:?}: field is immutable"))
    };
    changed.map(told).collect()
}

fn batch_needs_be(pod: &Pod) -> Option<Cause> {
    let asked = requests(pod);
    let asks = asked.get(names::BATCH_CPU) != 0 || asked.get(names::BATCH_MEMORY) != 0;
    (asks && Qos::labelled(pod) != Some(Qos::Be)).then(|| {
        let what = "Required value: must specify koordinator QoS BE with koordinator colocation resources";
        cause("FieldValueRequired", format!("labels.{}", names::QOS), what.to_owned())
    })
}

fn forbidden(pod: &Pod, qos: Qos, tiers: &[Option<Tier>]) -> Option<Cause> {
    let tier = Tier::said(pod);
    (Qos::labelled(pod) == Some(qos) && tiers.contains(&tier)).then(|| {
        let tier = tier.map_or("", Tier::as_str);
        let what =
            format!("Forbidden: {}={qos} and priorityClass={tier} cannot be used in combination", names::QOS);
        cause("FieldValueForbidden", "Pod", what)
    })
}

fn whole_cpus(pod: &Pod) -> Option<Cause> {
    if !Qos::labelled(pod).is_some_and(Qos::binds) {
        return None;
    }
    let field = "pod.spec.containers[*].resources.requests";
    let cpu = requests(pod).get("cpu");
    if cpu == 0 {
        let what = "Required value: LSR Pod must declare the requested CPUs";
        return Some(cause("FieldValueRequired", field, what.to_owned()));
    }
    (cpu % 1000 != 0).then(|| {
        let shown = Amounts::from([("cpu", cpu)]).to_string();
        let shown = shown.trim_start_matches("cpu:");
        let what = format!("Invalid value: {shown:?}: the requested CPUs of LSR Pod must be integer");
        cause("FieldValueInvalid", field, what)
    })
}

fn our_words(pod: &Pod) -> Option<Cause> {
    let wrong = CpuRules::of(pod).err()?;
    let value = pod.metadata.annotations.get(&wrong.key).cloned().unwrap_or_default();
    let field = format!("metadata.annotations[{}]", wrong.key);
    Some(cause("FieldValueInvalid", field, format!("Invalid value: {value:?}: {}", wrong.why)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(labels: Value, requests: Value, priority: Option<i32>) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "labels": labels},
            "spec": {"priority": priority, "containers": [{"name": "c", "resources": {"requests": requests}}]},
        }))
        .unwrap()
    }

    fn told(new: &Pod, old: Option<&Pod>) -> String {
        sentence(&validate(new, old))
    }

    #[test]
    fn batch_resources_need_best_effort() {
        let bad = pod(json!({}), json!({"kubernetes.io/batch-cpu": "1000"}), Some(5500));
        assert_eq!(
            told(&bad, None),
            "labels.koordinator.sh/qosClass: Required value: must specify koordinator QoS BE with koordinator colocation resources"
        );
        let good = pod(
            json!({"koordinator.sh/qosClass": "BE"}),
            json!({"kubernetes.io/batch-cpu": "1000"}),
            Some(5500),
        );
        assert!(validate(&good, None).is_empty());
    }

    #[test]
    fn best_effort_is_no_production_and_has_a_tier() {
        let be = json!({"koordinator.sh/qosClass": "BE"});
        assert_eq!(
            told(&pod(be.clone(), json!({}), Some(9500)), None),
            "Pod: Forbidden: koordinator.sh/qosClass=BE and priorityClass=koord-prod cannot be used in combination"
        );
        assert_eq!(
            told(&pod(be, json!({}), None), None),
            "Pod: Forbidden: koordinator.sh/qosClass=BE and priorityClass= cannot be used in combination"
        );
    }

    #[test]
    fn bound_cpus_are_production_s_and_whole() {
        let lsr = json!({"koordinator.sh/qosClass": "LSR"});
        assert_eq!(
            told(&pod(lsr.clone(), json!({"cpu": "1500m"}), Some(5500)), None),
            "[Pod: Forbidden: koordinator.sh/qosClass=LSR and priorityClass=koord-batch cannot be used in combination, \
             pod.spec.containers[*].resources.requests: Invalid value: \"1500m\": the requested CPUs of LSR Pod must be integer]"
        );
        assert_eq!(
            told(&pod(json!({"koordinator.sh/qosClass": "LSE"}), json!({}), Some(9500)), None),
            "pod.spec.containers[*].resources.requests: Required value: LSR Pod must declare the requested CPUs"
        );
        assert!(validate(&pod(lsr, json!({"cpu": "2"}), Some(9500)), None).is_empty());
    }

    #[test]
    fn class_tier_and_sub_priority_never_change() {
        let old = pod(
            json!({"koordinator.sh/qosClass": "LS", "koordinator.sh/priority": "1"}),
            json!({}),
            Some(9500),
        );
        let new = pod(json!({"koordinator.sh/qosClass": "LSX"}), json!({}), Some(7500));
        assert_eq!(
            told(&new, Some(&old)),
            "[labels.koordinator.sh/qosClass: Invalid value: \"\": field is immutable, \
             spec.priority: Invalid value: \"koord-mid\": field is immutable, \
             labels.koordinator.sh/priority: Invalid value: \"\": field is immutable]"
        );
        assert!(validate(&old, Some(&old)).is_empty());
    }

    #[test]
    fn a_word_of_ours_that_nobody_reads_is_refused() {
        let mut bad = pod(json!({}), json!({}), None);
        bad.metadata.annotations.insert(names::CPU_STACKING.into(), "Never".into());
        assert_eq!(
            told(&bad, None),
            "metadata.annotations[knarr.dev/cpu-stacking]: Invalid value: \"Never\": supported values: \"Allow\", \"Avoid\", \"Forbid\""
        );
    }
}
