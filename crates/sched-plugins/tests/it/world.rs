//! Small clusters from JSON.

use std::sync::Arc;

use sched_core::{Decision, Interner, NodeFact, PodFact, Snapshot};
use sched_plugins::{Engine, Rules};
use serde_json::{Value, json};

/// A cluster with its rules.
pub(crate) struct World {
    pub(crate) snapshot: Snapshot,
    pub(crate) engine: Engine,
    pub(crate) interner: Interner,
}

impl World {
    pub(crate) fn new(nodes: &[Value]) -> World {
        let mut snapshot = Snapshot::new();
        for n in nodes {
            snapshot.set_node(node_fact(n));
        }
        World { snapshot, engine: Rules::upstream().engine(), interner: Interner::default() }
    }

    pub(crate) fn pod(&mut self, json: &Value) -> PodFact {
        self.interner
            .project(&serde_json::from_value(json.clone()).expect("the test writes readable objects"))
    }

    /// Puts pods that are bound already.
    pub(crate) fn with(mut self, pods: &[Value]) -> World {
        for p in pods {
            let fact = self.pod(p);
            self.snapshot.place(Arc::new(fact));
        }
        self
    }

    pub(crate) fn decide(&mut self, pod: &Value) -> Decision {
        let fact = self.pod(pod);
        self.engine.decide(&mut self.snapshot, &fact)
    }

    /// The node chosen, or the sentence that says why none.
    pub(crate) fn say(&mut self, pod: &Value) -> String {
        match self.decide(pod) {
            Decision::Bind(placement) => placement.node.to_string(),
            Decision::Refused(refusal) => refusal.message(),
        }
    }
}

pub(crate) fn node_fact(json: &Value) -> NodeFact {
    NodeFact::of(&serde_json::from_value(json.clone()).expect("the test writes readable objects"))
}

/// A node of 4 CPUs, 8 GiB and 10 pods; `more` is merged over it.
pub(crate) fn node(name: &str, more: Value) -> Value {
    let mut out = json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "ephemeral-storage": "10Gi", "pods": "10"}},
    });
    merge(&mut out, more);
    out
}

/// A pod of namespace `d`; `more` is merged over it.
pub(crate) fn pod(name: &str, more: Value) -> Value {
    let mut out = json!({
        "metadata": {"name": name, "namespace": "d", "uid": format!("uid-{name}")},
        "spec": {"containers": [{"name": "c"}]},
    });
    merge(&mut out, more);
    out
}

/// Requests of the only container.
pub(crate) fn requests(list: Value) -> Value {
    json!({"spec": {"containers": [{"name": "c", "resources": {"requests": list}}]}})
}

pub(crate) fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}

pub(crate) fn merged(mut a: Value, b: Value) -> Value {
    merge(&mut a, b);
    a
}
