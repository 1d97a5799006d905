use std::collections::BTreeMap;
use std::sync::Arc;

use api_meta::{ObjectMeta, Resource};
use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;

/// Objects by identity, the graph that mirrors them, and what the collector does.
#[derive(Default)]
struct Yard {
    graph: Graph,
    objects: BTreeMap<String, (Resource, Value)>,
    /// Identities that a live look would find though the graph does not know them.
    hidden: Vec<String>,
    lines: Vec<String>,
    revision: u64,
}

fn resource(kind: &str) -> Resource {
    match kind {
        "Node" => Resource::cluster("", "v1", "nodes", "Node"),
        "Pod" => Resource::namespaced("", "v1", "pods", "Pod"),
        _ => Resource::namespaced("apps", "v1", "replicasets", "ReplicaSet"),
    }
}

fn owner(kind: &str, name: &str, block: bool) -> Value {
    let api_version = resource(kind).api_version();
    json!({"apiVersion": api_version, "kind": kind, "name": name, "uid": name, "blockOwnerDeletion": block})
}

impl Yard {
    fn put(&mut self, kind: &str, name: &str, owners: &[Value]) {
        let meta = json!({"name": name, "namespace": "shop", "uid": name, "ownerReferences": owners});
        self.objects.insert(name.to_owned(), (resource(kind), meta));
        self.mirror(name);
    }

    fn edit(&mut self, name: &str, change: impl FnOnce(&mut Value)) {
        let (_, meta) = self.objects.get_mut(name).unwrap();
        change(meta);
        let free = meta["finalizers"].as_array().is_none_or(Vec::is_empty);
        if !meta["deletionTimestamp"].is_null() && free {
            self.objects.remove(name);
            self.graph.remove(name);
        } else {
            self.mirror(name);
        }
    }

    fn mirror(&mut self, name: &str) {
        self.revision += 1;
        let (resource, meta) = self.objects.get_mut(name).unwrap();
        meta["resourceVersion"] = json!(self.revision.to_string());
        let meta: ObjectMeta = serde_json::from_value(meta.clone()).unwrap();
        self.graph.apply(&Arc::new(resource.clone()), &meta);
    }

    /// A user's deletion.
    fn delete(&mut self, name: &str, finalizer: Option<&str>) {
        let finalizer = finalizer.map(str::to_owned);
        self.edit(name, |meta| {
            meta["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            if let Some(finalizer) = finalizer {
                meta["finalizers"] = json!([finalizer]);
            }
        });
    }

    fn run(&mut self) {
        for _ in 0..50 {
            let steps = self.graph.steps(100);
            if steps.is_empty() {
                return;
            }
            steps.into_iter().for_each(|step| self.take(step));
        }
        panic!("the collector does not come to rest: {:#?}", self.lines);
    }

    fn take(&mut self, step: Step) {
        let (uid, action) = match step {
            Step::Verify(address) => {
                let there = self.objects.contains_key(&address.uid) || self.hidden.contains(&address.uid);
                self.lines.push(format!("look at {}", address.uid));
                return self.graph.ruled(&address, if there { Ruling::Present } else { Ruling::Absent });
            }
            Step::Act { uid, action } => (uid, action),
        };
        let seen = self.objects.get(&uid).map(|(_, m)| m["resourceVersion"].clone());
        let fence = match &action {
            Action::Delete { target, .. } | Action::Patch { target, .. } => {
                json!(target.revision.unwrap().to_string())
            }
            other => panic!("{other:?}"),
        };
        if seen != Some(fence) {
            return self.graph.again(&uid);
        }
        match action {
            Action::Delete { propagation, .. } => {
                self.lines.push(format!("delete {uid} {:?}", propagation.unwrap()));
                let finalizer =
                    (propagation == Some(reconcile::Propagation::Foreground)).then_some("foregroundDeletion");
                self.delete(&uid, finalizer);
            }
            Action::Patch { body, .. } => {
                self.lines.push(format!("patch {uid} {}", body["metadata"]));
                self.edit(&uid, |meta| {
                    for (field, value) in body["metadata"].as_object().unwrap() {
                        meta[field] = value.clone();
                    }
                });
            }
            other => panic!("{other:?}"),
        }
    }

    fn did(&mut self, expected: Expect) {
        self.run();
        expected.assert_eq(&self.lines.join("\n"));
        self.lines.clear();
    }

    fn names(&self) -> String {
        self.objects.keys().cloned().collect::<Vec<_>>().join(" ")
    }
}

/// A set with two pods that block it.
fn family() -> Yard {
    let mut yard = Yard::default();
    yard.put("ReplicaSet", "set", &[]);
    yard.put("Pod", "pod-1", &[owner("ReplicaSet", "set", true)]);
    yard.put("Pod", "pod-2", &[owner("ReplicaSet", "set", true)]);
    yard.did(expect![""]);
    yard
}

#[test]
fn in_the_background_dependents_follow_their_owner() {
    let mut yard = family();
    yard.delete("set", None);
    yard.did(expect![[r#"
        look at set
        delete pod-1 Background
        delete pod-2 Background"#]]);
    assert_eq!(yard.names(), "");
}

#[test]
fn in_the_foreground_dependents_go_first() {
    let mut yard = family();
    yard.delete("set", Some("foregroundDeletion"));
    yard.did(expect![[r#"
        delete pod-1 Background
        delete pod-2 Background
        patch set {"finalizers":[]}"#]]);
    assert_eq!(yard.names(), "");
}

#[test]
fn a_dependent_that_stays_blocks_its_owner_unless_it_does_not_care() {
    let mut yard = family();
    yard.edit("pod-1", |meta| meta["finalizers"] = json!(["example.com/hold"]));
    yard.edit("pod-2", |meta| {
        meta["finalizers"] = json!(["example.com/hold"]);
        meta["ownerReferences"][0]["blockOwnerDeletion"] = json!(false);
    });
    yard.delete("set", Some("foregroundDeletion"));
    yard.run();
    assert_eq!(yard.names(), "pod-1 pod-2 set");
    yard.edit("pod-1", |meta| meta["finalizers"] = json!([]));
    yard.run();
    assert_eq!(yard.names(), "pod-2");
}

#[test]
fn orphans_lose_their_reference_and_stay() {
    let mut yard = family();
    yard.delete("set", Some("orphan"));
    yard.did(expect![[r#"
        patch pod-1 {"ownerReferences":[]}
        patch pod-2 {"ownerReferences":[]}
        patch set {"finalizers":[]}"#]]);
    assert_eq!(yard.names(), "pod-1 pod-2");
}

#[test]
fn an_owner_that_is_only_not_seen_here_keeps_its_dependents() {
    let mut yard = Yard { hidden: vec!["set".into()], ..Yard::default() };
    yard.put("Pod", "pod", &[owner("ReplicaSet", "set", true)]);
    yard.did(expect!["look at set"]);
    assert_eq!(yard.names(), "pod");
}

#[test]
fn an_owner_that_cannot_be_looked_at_keeps_its_dependents() {
    let mut graph = Graph::new();
    let meta: ObjectMeta = serde_json::from_value(
        json!({"name": "p", "namespace": "shop", "uid": "p", "ownerReferences": [owner("ReplicaSet", "set", true)]}),
    )
    .unwrap();
    graph.apply(&Arc::new(resource("Pod")), &meta);
    let Step::Verify(address) = graph.steps(9).remove(0) else { panic!() };
    graph.ruled(&address, Ruling::Unknown);
    assert!(graph.steps(9).is_empty());
    graph.again_below("set");
    assert_eq!(graph.steps(9), [Step::Verify(address)], "it is looked at again when asked");
}

#[test]
fn one_solid_owner_is_enough() {
    let mut yard = Yard::default();
    yard.put("ReplicaSet", "a", &[]);
    yard.put("ReplicaSet", "b", &[]);
    yard.put("Pod", "pod", &[owner("ReplicaSet", "a", false), owner("ReplicaSet", "b", false)]);
    yard.run();
    yard.delete("a", None);
    yard.run();
    assert_eq!(yard.names(), "b pod");
    let (_, meta) = &yard.objects["pod"];
    assert_eq!(meta["ownerReferences"], json!([owner("ReplicaSet", "b", false)]));
    yard.delete("b", None);
    yard.run();
    assert_eq!(yard.names(), "");
}

#[test]
fn an_owner_named_from_another_namespace_counts_as_absent() {
    let mut yard = Yard::default();
    yard.put("ReplicaSet", "set", &[]);
    yard.edit("set", |meta| meta["namespace"] = json!("elsewhere"));
    yard.objects.remove("set");
    yard.put("Pod", "pod", &[owner("ReplicaSet", "set", true)]);
    yard.did(expect![[r#"
        look at set
        delete pod Background"#]]);
}

#[test]
fn cluster_wide_owners_are_found_from_every_namespace() {
    let mut yard = Yard::default();
    yard.put("Node", "node", &[]);
    yard.put("Pod", "pod", &[owner("Node", "node", false)]);
    yard.did(expect![""]);
}

#[test]
fn grandchildren_go_first_in_the_foreground_too() {
    let mut yard = Yard::default();
    yard.put("ReplicaSet", "top", &[]);
    yard.put("ReplicaSet", "middle", &[owner("ReplicaSet", "top", true)]);
    yard.put("Pod", "leaf", &[owner("ReplicaSet", "middle", true)]);
    yard.run();
    yard.delete("top", Some("foregroundDeletion"));
    yard.did(expect![[r#"
        delete middle Foreground
        delete leaf Background
        patch middle {"finalizers":[]}
        patch top {"finalizers":[]}"#]]);
    assert_eq!(yard.names(), "");
}

#[test]
fn a_circle_in_the_foreground_ends() {
    let mut yard = Yard::default();
    yard.put("ReplicaSet", "a", &[owner("ReplicaSet", "b", true)]);
    yard.put("ReplicaSet", "b", &[owner("ReplicaSet", "a", true)]);
    yard.run();
    yard.delete("a", Some("foregroundDeletion"));
    yard.run();
    assert_eq!(yard.names(), "");
}

#[test]
fn an_owner_added_meanwhile_saves_the_dependent() {
    let mut yard = family();
    yard.put("ReplicaSet", "heir", &[]);
    yard.delete("set", None);
    let steps = yard.graph.steps(100);
    steps.into_iter().for_each(|step| yard.take(step));
    let steps = yard.graph.steps(100);
    // Before the deletion arrives the pod gets another owner.
    yard.edit("pod-1", |meta| {
        meta["ownerReferences"].as_array_mut().unwrap().push(owner("ReplicaSet", "heir", false));
    });
    steps.into_iter().for_each(|step| yard.take(step));
    yard.run();
    assert_eq!(yard.names(), "heir pod-1");
}
