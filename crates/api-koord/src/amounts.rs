//! Amounts of resources by name, and what a pod asks for.

use std::collections::BTreeMap;
use std::fmt;

use api_core::{Container, Pod};
use api_meta::Quantity;
use serde_json::Value;

/// Amounts by resource name: `cpu` in thousandths, everything else in whole units. A name that is absent is not zero where a
/// limit is meant: it is "no limit". Sums saturate.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amounts(pub BTreeMap<String, i64>);

impl Amounts {
    /// Reads a resource list as on the wire. Unreadable entries are left out: the API server has refused them before.
    pub fn read(list: &BTreeMap<String, Value>) -> Amounts {
        let amount = |(name, value): (&String, &Value)| Some((name.clone(), scaled(name, quantity(value)?)));
        Amounts(list.iter().filter_map(amount).collect())
    }

    /// The amount of a resource; 0 when absent.
    pub fn get(&self, name: &str) -> i64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// Whether nothing is asked for.
    pub fn is_zero(&self) -> bool {
        self.0.values().all(|v| *v == 0)
    }

    /// Adds another list.
    pub fn add(&mut self, other: &Amounts) {
        for (name, amount) in &other.0 {
            let mine = self.0.entry(name.clone()).or_default();
            *mine = mine.saturating_add(*amount);
        }
    }

    /// Takes another list away; may fall below zero.
    pub fn sub(&mut self, other: &Amounts) {
        for (name, amount) in &other.0 {
            let mine = self.0.entry(name.clone()).or_default();
            *mine = mine.saturating_sub(*amount);
        }
    }

    /// Forgets what is zero.
    pub fn drop_zeros(&mut self) {
        self.0.retain(|_, amount| *amount != 0);
    }

    /// One amount as Kubernetes writes it, such as `1500m` or `2Gi`.
    pub fn text(&self, name: &str) -> String {
        canonical(name, self.get(name))
    }

    /// Raises each amount to at least that of the other list.
    pub fn raise(&mut self, other: &Amounts) {
        for (name, amount) in &other.0 {
            let mine = self.0.entry(name.clone()).or_insert(*amount);
            *mine = (*mine).max(*amount);
        }
    }

    /// What of these amounts the limits do not allow: names in order. What a limit does not name is not limited.
    pub fn beyond<'a>(&'a self, limits: &'a Amounts) -> impl Iterator<Item = &'a str> {
        let over =
            |(name, amount): &(&String, &i64)| limits.0.get(*name).is_some_and(|limit| *amount > limit);
        self.0.iter().filter(over).map(|(name, _)| name.as_str())
    }

    /// The amounts of the resources that the other list names.
    pub fn masked(&self, by: &Amounts) -> Amounts {
        Amounts(self.0.iter().filter(|(n, _)| by.0.contains_key(*n)).map(|(n, v)| (n.clone(), *v)).collect())
    }
}

impl<const N: usize> From<[(&str, i64); N]> for Amounts {
    fn from(list: [(&str, i64); N]) -> Amounts {
        Amounts(list.into_iter().map(|(n, v)| (n.to_owned(), v)).collect())
    }
}

impl fmt::Display for Amounts {
    /// `cpu:1500m,memory:2Gi`, as Koordinator prints a list; `<empty>` when there is nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("<empty>");
        }
        for (i, (name, amount)) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{name}:{}", canonical(name, *amount))?;
        }
        Ok(())
    }
}

/// An amount as Kubernetes writes it: memory with binary suffixes, the rest with decimal ones, the largest that is exact.
fn canonical(name: &str, amount: i64) -> String {
    if name == "memory" {
        return suffixed(amount, 1024, &["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]);
    }
    if name == "cpu" {
        return suffixed(amount, 1000, &["m", "", "k", "M", "G", "T", "P", "E"]);
    }
    suffixed(amount, 1000, &["", "k", "M", "G", "T", "P", "E"])
}

fn suffixed(mut amount: i64, by: i64, suffixes: &[&str]) -> String {
    if amount == 0 {
        return "0".to_owned();
    }
    let mut suffixes = suffixes.iter();
    let mut suffix = suffixes.next().copied().unwrap_or_default();
    while amount % by == 0 {
        let Some(next) = suffixes.next() else { break };
        (amount, suffix) = (amount / by, next);
    }
    format!("{amount}{suffix}")
}

fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        _ => None,
    }
}

fn scaled(name: &str, quantity: Quantity) -> i64 {
    if name == "cpu" { quantity.milli() } else { quantity.units() }
}

/// What a pod asks for: the larger of its running containers together and of any one step of its start, plus overhead, as
/// Kubernetes counts it. Sidecars (init containers that restart) run beside everything after them.
pub fn requests(pod: &Pod) -> Amounts {
    let mut running = Amounts::default();
    for container in &pod.spec.containers {
        running.add(&of(container));
    }
    let (mut sidecars, mut start) = (Amounts::default(), Amounts::default());
    for container in &pod.spec.init_containers {
        let mut step = of(container);
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars.add(&step);
            start.raise(&sidecars);
        } else {
            step.add(&sidecars);
            start.raise(&step);
        }
    }
    running.add(&sidecars);
    running.raise(&start);
    let overhead = pod.spec.overhead.iter().map(|(n, v)| (n.clone(), Value::String(v.clone()))).collect();
    running.add(&Amounts::read(&overhead));
    running
}

/// Requests of a container; limits stand in for what is not requested.
fn of(container: &Container) -> Amounts {
    let mut list = container.resources.limits.clone();
    list.extend(container.resources.requests.clone());
    Amounts::read(&list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn amounts_are_printed_as_kubernetes_prints_them() {
        let list = Amounts::from([("cpu", 1500), ("memory", 2 << 30), ("kubernetes.io/batch-cpu", 2000)]);
        assert_eq!(list.to_string(), "cpu:1500m,kubernetes.io/batch-cpu:2k,memory:2Gi");
        assert_eq!(Amounts::from([("cpu", 4000), ("memory", 1000)]).to_string(), "cpu:4,memory:1000");
        assert_eq!(Amounts::default().to_string(), "<empty>");
    }

    #[test]
    fn a_limit_that_names_no_resource_does_not_limit_it() {
        let wanted = Amounts::from([("cpu", 2), ("gpu", 9), ("memory", 5)]);
        let limits = Amounts::from([("cpu", 1), ("memory", 5)]);
        assert_eq!(wanted.beyond(&limits).collect::<Vec<_>>(), ["cpu"]);
    }

    #[test]
    fn a_pod_asks_for_its_largest_moment() {
        let pod: Pod = serde_json::from_value(json!({"spec": {
            "overhead": {"cpu": "100m"},
            "containers": [{"name": "a", "resources": {"requests": {"cpu": "1"}}}, {"name": "b", "resources": {"limits": {"cpu": "1"}}}],
            "initContainers": [
                {"name": "side", "restartPolicy": "Always", "resources": {"requests": {"cpu": "500m"}}},
                {"name": "once", "resources": {"requests": {"cpu": "3"}}},
            ],
        }}))
        .unwrap();
        assert_eq!(requests(&pod).get("cpu"), 3600, "3 + 0.5 of the sidecar before it + overhead");
    }
}
