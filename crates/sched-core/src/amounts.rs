//! Amounts of resources as whole numbers.

use std::collections::BTreeMap;
use std::sync::Arc;

use api_meta::Quantity;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Amounts of resources: of a pod's requests, of a node's room, of what is taken. Sums saturate.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Amounts {
    /// Thousandths of a CPU.
    pub cpu_milli: i64,
    /// Bytes.
    pub memory: i64,
    /// Bytes.
    pub ephemeral_storage: i64,
    /// Everything else by name: extended resources, huge pages.
    pub extended: BTreeMap<Arc<str>, i64>,
}

impl Amounts {
    /// Reads a resource list as on the wire. Unreadable entries are left out; `pods` and `storage` are not amounts here.
    pub fn read<'a>(list: impl IntoIterator<Item = (&'a String, &'a Value)>) -> Amounts {
        let mut out = Amounts::default();
        for (name, value) in list {
            if let Some(amount) = quantity(value) {
                out.set(name, amount);
            }
        }
        out
    }

    fn set(&mut self, name: &str, amount: Quantity) {
        match name {
            "cpu" => self.cpu_milli = amount.milli(),
            "memory" => self.memory = amount.units(),
            "ephemeral-storage" => self.ephemeral_storage = amount.units(),
            "pods" | "storage" => {}
            other => {
                self.extended.insert(other.into(), amount.units());
            }
        }
    }

    /// Whether nothing is asked for.
    pub fn is_zero(&self) -> bool {
        self.cpu_milli == 0
            && self.memory == 0
            && self.ephemeral_storage == 0
            && self.extended.values().all(|v| *v == 0)
    }

    /// Adds another list.
    pub fn add(&mut self, other: &Amounts) {
        self.merge(other, i64::saturating_add);
    }

    /// Takes another list away; what falls to zero is forgotten.
    pub fn sub(&mut self, other: &Amounts) {
        self.merge(other, i64::saturating_sub);
        self.extended.retain(|_, v| *v != 0);
    }

    /// Raises every amount to at least the other's.
    pub fn raise(&mut self, other: &Amounts) {
        self.merge(other, i64::max);
    }

    fn merge(&mut self, other: &Amounts, with: fn(i64, i64) -> i64) {
        self.cpu_milli = with(self.cpu_milli, other.cpu_milli);
        self.memory = with(self.memory, other.memory);
        self.ephemeral_storage = with(self.ephemeral_storage, other.ephemeral_storage);
        for (name, amount) in &other.extended {
            let mine = self.extended.entry(name.clone()).or_default();
            *mine = with(*mine, *amount);
        }
    }

    /// Amount of an extended resource.
    pub fn extended(&self, name: &str) -> i64 {
        self.extended.get(name).copied().unwrap_or(0)
    }
}

/// A quantity as on the wire: text or number.
pub(crate) fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(n) => n.to_string().parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: serde_json::Value) -> Amounts {
        let list: BTreeMap<String, Value> = serde_json::from_value(json).unwrap();
        Amounts::read(&list)
    }

    #[test]
    fn reads_the_units_of_each_resource() {
        let a =
            read(serde_json::json!({"cpu": "1500m", "memory": "1Ki", "pods": "9", "a.b/gpu": 2, "bad": "x"}));
        assert_eq!((a.cpu_milli, a.memory, a.extended("a.b/gpu"), a.extended.len()), (1500, 1024, 2, 1));
    }

    #[test]
    fn taking_away_what_was_added_gives_back_the_same() {
        let mut a = read(serde_json::json!({"cpu": "1"}));
        let before = a.clone();
        let b = read(serde_json::json!({"cpu": "250m", "x/y": 3}));
        a.add(&b);
        a.sub(&b);
        assert_eq!(a, before);
    }
}
