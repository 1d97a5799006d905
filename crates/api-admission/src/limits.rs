//! LimitRange: what a namespace fills in and how much one container, pod or claim may take.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::amount::{self, Amount, Amounts};
use crate::pod::{self, Side, list, text};

/// Where what was filled in is told.
const ANNOTATION: &str = "kubernetes.io/limit-ranger";

/// Fills the defaults of a namespace's ranges into the containers of a new pod; says in an annotation what it did.
pub fn complete(pod: &mut Value, ranges: &[Value]) {
    for range in ranges {
        let defaults = Defaults::of(range);
        let mut told = Vec::new();
        for (key, word) in [("containers", "container"), ("initContainers", "init container")] {
            let containers = pod["spec"].get_mut(key).and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten() {
                defaults.fill(container, word, &mut told);
            }
        }
        if told.is_empty() {
            continue;
        }
        if !pod["metadata"]["annotations"].is_object() {
            pod["metadata"]["annotations"] = json!({});
        }
        pod["metadata"]["annotations"][ANNOTATION] =
            json!(format!("LimitRanger plugin set: {}", told.join("; ")));
    }
}

/// What a range gives to containers that say nothing.
#[derive(Default)]
struct Defaults {
    requests: BTreeMap<String, Value>,
    limits: BTreeMap<String, Value>,
}

impl Defaults {
    fn of(range: &Value) -> Defaults {
        let mut out = Defaults::default();
        for item in list(&range["spec"], "limits").filter(|i| i["type"] == "Container") {
            for (side, key) in [(&mut out.requests, "defaultRequest"), (&mut out.limits, "default")] {
                let all = item[key].as_object().into_iter().flatten();
                side.extend(all.map(|(name, value)| (name.clone(), value.clone())));
            }
        }
        out
    }

    fn fill(&self, container: &mut Value, word: &str, told: &mut Vec<String>) {
        let name = text(container, "name").to_owned();
        for (defaults, key, what) in
            [(&self.requests, "requests", "request"), (&self.limits, "limits", "limit")]
        {
            let missing: Vec<(&String, &Value)> = defaults
                .iter()
                .filter(|(n, _)| container["resources"][key].get(n.as_str()).is_none())
                .collect();
            if missing.is_empty() {
                continue;
            }
            let names: Vec<&str> = missing.iter().map(|(n, _)| n.as_str()).collect();
            told.push(format!("{} {what} for {word} {name}", names.join(", ")));
            for (n, value) in missing {
                container["resources"][key][n.as_str()] = value.clone();
            }
        }
    }
}

/// Why a pod breaks the ranges of its namespace; nothing when it does not.
pub fn judge_pod(pod: &Value, ranges: &[Value]) -> Option<String> {
    let spec = &pod["spec"];
    judge(ranges, |item, found| match text(item, "type") {
        "Container" => {
            for container in list(spec, "containers").chain(list(spec, "initContainers")) {
                let sides = Sides {
                    requests: pod::of_container(container, Side::Requests),
                    limits: pod::of_container(container, Side::Limits),
                };
                sides.check(item, "Container", found);
            }
        }
        "Pod" => {
            let sides =
                Sides { requests: pod::total(spec, Side::Requests), limits: pod::total(spec, Side::Limits) };
            sides.check(item, "Pod", found);
        }
        _ => {}
    })
}

/// Why a claim breaks the ranges of its namespace; nothing when it does not.
pub fn judge_claim(claim: &Value, ranges: &[Value]) -> Option<String> {
    const KIND: &str = "PersistentVolumeClaim";
    let resources = &claim["spec"]["resources"];
    let sides =
        Sides { requests: amount::read(&resources["requests"]), limits: amount::read(&resources["limits"]) };
    judge(ranges, |item, found| {
        if text(item, "type") != KIND {
            return;
        }
        for (name, bound) in amount::read(&item["min"]) {
            found.extend(sides.at_least(KIND, &name, bound));
        }
        for (name, bound) in amount::read(&item["max"]) {
            found.extend(sides.request_at_most(KIND, &name, bound));
        }
    })
}

/// Findings of all items of all ranges in one sentence, as upstream joins errors: none twice.
fn judge(ranges: &[Value], mut check: impl FnMut(&Value, &mut Vec<String>)) -> Option<String> {
    for range in ranges {
        let mut found: Vec<String> = Vec::new();
        list(&range["spec"], "limits").for_each(|item| check(item, &mut found));
        let mut distinct: Vec<String> = Vec::new();
        found.into_iter().for_each(|f| {
            if !distinct.contains(&f) {
                distinct.push(f);
            }
        });
        match distinct.as_slice() {
            [] => {}
            [one] => return Some(one.clone()),
            many => return Some(format!("[{}]", many.join(", "))),
        }
    }
    None
}

/// What is requested and limited.
struct Sides {
    requests: Amounts,
    limits: Amounts,
}

impl Sides {
    fn check(&self, item: &Value, kind: &str, found: &mut Vec<String>) {
        for (name, bound) in amount::read(&item["min"]) {
            found.extend(self.at_least(kind, &name, bound));
        }
        for (name, bound) in amount::read(&item["max"]) {
            found.extend(self.at_most(kind, &name, bound));
        }
        for (name, bound) in amount::read(&item["maxLimitRequestRatio"]) {
            found.extend(self.ratio(kind, &name, bound));
        }
    }

    fn at_least(&self, kind: &str, name: &str, bound: Amount) -> Option<String> {
        let head = format!("minimum {name} usage per {kind} is {bound}");
        match (self.requests.get(name), self.limits.get(name)) {
            (None, _) => Some(format!("{head}.  No request is specified")),
            (Some(request), _) if *request < bound => Some(format!("{head}, but request is {request}")),
            (_, Some(limit)) if *limit < bound => Some(format!("{head}, but limit is {limit}")),
            _ => None,
        }
    }

    fn at_most(&self, kind: &str, name: &str, bound: Amount) -> Option<String> {
        let head = format!("maximum {name} usage per {kind} is {bound}");
        match (self.requests.get(name), self.limits.get(name)) {
            (_, None) => Some(format!("{head}.  No limit is specified")),
            (_, Some(limit)) if *limit > bound => Some(format!("{head}, but limit is {limit}")),
            (Some(request), _) if *request > bound => Some(format!("{head}, but request is {request}")),
            _ => None,
        }
    }

    fn request_at_most(&self, kind: &str, name: &str, bound: Amount) -> Option<String> {
        let head = format!("maximum {name} usage per {kind} is {bound}");
        match self.requests.get(name) {
            None => Some(format!("{head}.  No request is specified")),
            Some(request) if *request > bound => Some(format!("{head}, but request is {request}")),
            Some(_) => None,
        }
    }

    fn ratio(&self, kind: &str, name: &str, bound: Amount) -> Option<String> {
        let head = format!("{name} max limit to request ratio per {kind} is {bound}");
        let given = |side: &Amounts| side.get(name).copied().filter(|a| !a.is_zero());
        let Some(request) = given(&self.requests) else {
            return Some(format!("{head}, but no request is specified or request is 0"));
        };
        let Some(limit) = given(&self.limits) else {
            return Some(format!("{head}, but no limit is specified or limit is 0"));
        };
        // limit / request > bound, without rounding: all three are in thousandths.
        let is_above = limit.milli().saturating_mul(1000) > request.milli().saturating_mul(bound.milli());
        #[expect(clippy::cast_precision_loss, reason = "shown to people only")]
        let shown = limit.milli() as f64 / request.milli() as f64;
        is_above.then(|| format!("{head}, but provided ratio is {shown:.6}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(resources: Value) -> Value {
        json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "resources": resources}]}})
    }

    fn range(item: Value) -> Vec<Value> {
        vec![json!({"spec": {"limits": [item]}})]
    }

    #[test]
    fn defaults_are_filled_in_where_nothing_is_said_and_told() {
        let ranges = range(json!({
            "type": "Container", "default": {"cpu": "1", "memory": "1Gi"}, "defaultRequest": {"cpu": "100m"}
        }));
        let mut given = pod(json!({"limits": {"memory": "2Gi"}}));
        complete(&mut given, &ranges);
        let resources = &given["spec"]["containers"][0]["resources"];
        assert_eq!(*resources, json!({"limits": {"cpu": "1", "memory": "2Gi"}, "requests": {"cpu": "100m"}}));
        let told = &given["metadata"]["annotations"][ANNOTATION];
        assert_eq!(told, "LimitRanger plugin set: cpu request for container c; cpu limit for container c");
    }

    #[test]
    fn bounds_are_told_in_upstreams_words() {
        let judged =
            |item: Value, resources: Value| judge_pod(&pod(resources), &range(item)).unwrap_or_default();
        let max = json!({"type": "Container", "max": {"cpu": "1"}});
        assert_eq!(
            judged(max.clone(), json!({"limits": {"cpu": "2"}, "requests": {"cpu": "2"}})),
            "maximum cpu usage per Container is 1, but limit is 2"
        );
        assert_eq!(
            judged(max.clone(), json!({})),
            "maximum cpu usage per Container is 1.  No limit is specified"
        );
        assert_eq!(judged(max, json!({"limits": {"cpu": "1"}})), "");
        let min = json!({"type": "Pod", "min": {"memory": "1Gi"}});
        assert_eq!(
            judged(min, json!({"requests": {"memory": "512Mi"}})),
            "minimum memory usage per Pod is 1Gi, but request is 512Mi"
        );
        let ratio = json!({"type": "Container", "maxLimitRequestRatio": {"cpu": "2"}});
        assert_eq!(
            judged(ratio, json!({"limits": {"cpu": "3"}, "requests": {"cpu": "1"}})),
            "cpu max limit to request ratio per Container is 2, but provided ratio is 3.000000"
        );
    }

    #[test]
    fn several_findings_stand_in_brackets() {
        let item = json!({"type": "Container", "max": {"cpu": "1", "memory": "1Gi"}});
        let given = pod(json!({"limits": {"cpu": "2", "memory": "2Gi"}}));
        let why = judge_pod(&given, &range(item)).unwrap();
        assert_eq!(
            why,
            "[maximum cpu usage per Container is 1, but limit is 2, maximum memory usage per Container is 1Gi, but limit is 2Gi]"
        );
    }

    #[test]
    fn claims_have_bounds_of_their_own() {
        let ranges = range(
            json!({"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}, "min": {"storage": "1Mi"}}),
        );
        let claim = |size: &str| json!({"spec": {"resources": {"requests": {"storage": size}}}});
        assert_eq!(judge_claim(&claim("1Gi"), &ranges), None);
        let why = judge_claim(&claim("2Gi"), &ranges).unwrap();
        assert_eq!(why, "maximum storage usage per PersistentVolumeClaim is 1Gi, but request is 2Gi");
    }
}
