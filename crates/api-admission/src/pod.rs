//! What a pod is made of, as several rooms need it.

use serde_json::Value;

use crate::amount::{self, Amounts};

/// Items of a list; none where there is no list.
pub(crate) fn list<'a>(tree: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    tree[key].as_array().into_iter().flatten()
}

/// A text; empty where there is none.
pub(crate) fn text<'a>(tree: &'a Value, key: &str) -> &'a str {
    tree[key].as_str().unwrap_or_default()
}

/// Whether something is requested, or limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Requests,
    Limits,
}

impl Side {
    fn key(self) -> &'static str {
        match self {
            Side::Requests => "requests",
            Side::Limits => "limits",
        }
    }
}

/// What a container requests or is limited to.
pub(crate) fn of_container(container: &Value, side: Side) -> Amounts {
    amount::read(&container["resources"][side.key()])
}

/// What a pod as a whole requests or is limited to: its containers and sidecars together, or, where that is more, what starts
/// before them (component-helpers `PodRequests`). Overhead is not in it. What the pod itself states counts before the sum.
pub(crate) fn total(spec: &Value, side: Side) -> Amounts {
    let mut running = Amounts::new();
    for container in list(spec, "containers") {
        amount::add(&mut running, &of_container(container, side));
    }
    let (mut sidecars, mut starting) = (Amounts::new(), Amounts::new());
    for container in list(spec, "initContainers") {
        let mut own = of_container(container, side);
        if container["restartPolicy"] == "Always" {
            amount::add(&mut running, &own);
            amount::add(&mut sidecars, &own);
            own = sidecars.clone();
        } else {
            amount::add(&mut own, &sidecars);
        }
        amount::raise(&mut starting, &own);
    }
    amount::raise(&mut running, &starting);
    for (name, amount) in amount::read(&spec["resources"][side.key()]) {
        running.insert(name, amount);
    }
    running
}

/// The same with the overhead of the pod's runtime class, on what is stated.
pub(crate) fn total_with_overhead(spec: &Value, side: Side) -> Amounts {
    let mut total = total(spec, side);
    for (name, overhead) in amount::read(&spec["overhead"]) {
        match total.get_mut(&name) {
            Some(amount) => *amount = amount.plus(overhead),
            None if side == Side::Requests => {
                total.insert(name, overhead);
            }
            None => {}
        }
    }
    total
}

/// The quality of service class is BestEffort: nothing is requested and nothing is limited.
pub(crate) fn is_best_effort(spec: &Value) -> bool {
    const COUNTED: [&str; 2] = ["cpu", "memory"];
    let states = |resources: &Value| {
        ["requests", "limits"].iter().any(|side| {
            let all = amount::read(&resources[*side]);
            COUNTED.iter().any(|name| all.get(*name).is_some_and(|a| !a.is_zero()))
        })
    };
    let containers = list(spec, "containers").chain(list(spec, "initContainers"));
    !states(&spec["resources"]) && !containers.into_iter().any(|c| states(&c["resources"]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_takes_what_runs_or_what_starts_before_it() {
        let cpu = |c: &str| json!({"resources": {"requests": {"cpu": c}}});
        let sidecar = json!({"restartPolicy": "Always", "resources": {"requests": {"cpu": "1"}}});
        let spec =
            json!({"containers": [cpu("1"), cpu("500m")], "initContainers": [cpu("2"), sidecar, cpu("3")]});
        assert_eq!(
            total(&spec, Side::Requests)["cpu"].to_string(),
            "4",
            "the last start with the sidecar beside it"
        );
        let spec =
            json!({"containers": [cpu("5")], "initContainers": [cpu("2")], "overhead": {"cpu": "250m"}});
        assert_eq!(total(&spec, Side::Requests)["cpu"].to_string(), "5");
        assert_eq!(total_with_overhead(&spec, Side::Requests)["cpu"].to_string(), "5250m");
    }
}
