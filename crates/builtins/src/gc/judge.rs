//! What becomes of one object, by its owners and dependents.

use std::sync::Arc;

use api_meta::OwnerReference;
use reconcile::{Action, Form, Propagation, Risk, Target};
use serde_json::{Value, json};

use crate::gc::graph::{FOREGROUND, Graph, Node, ORPHAN};
use crate::gc::{Address, Step};
use crate::namespace::risk_of;

/// The owners of an object by their state.
#[derive(Default)]
struct Owners<'a> {
    /// There, and staying.
    solid: Vec<&'a OwnerReference>,
    /// There, and waiting for this object to go first.
    waiting: Vec<&'a OwnerReference>,
    /// Known not to be there.
    dangling: Vec<&'a OwnerReference>,
    /// To be looked at.
    unknown: Vec<Address>,
}

pub(crate) fn judge(graph: &Graph, uid: &Arc<str>, node: &Node) -> Vec<Step> {
    let act = |action| Step::Act { uid: uid.to_string(), action };
    if node.is_orphaning {
        return orphan(graph, uid, node);
    }
    if node.is_foreground {
        return foreground(graph, uid, node).into_iter().map(act).collect();
    }
    if node.is_terminating || node.owners.is_empty() {
        return Vec::new();
    }
    let owners = classify(graph, node);
    if !owners.unknown.is_empty() {
        return owners.unknown.into_iter().map(Step::Verify).collect();
    }
    let gone: Vec<&OwnerReference> = owners.dangling.iter().chain(&owners.waiting).copied().collect();
    if !owners.solid.is_empty() {
        return if gone.is_empty() { Vec::new() } else { vec![act(without_owners(uid, node, &gone))] };
    }
    let has_dependents = graph.dependents_of(uid).next().is_some();
    if owners.waiting.is_empty() || !has_dependents {
        return vec![act(delete(uid, node, Propagation::Background))];
    }
    // Its own dependents go first, too. A circle of waiting objects would never end: this one stops blocking its owner.
    let is_circle = graph.dependents_of(uid).any(|(_, dependent)| dependent.is_foreground);
    let unblock = is_circle.then(|| act(unblocked(uid, node))).into_iter();
    unblock.chain([act(delete(uid, node, Propagation::Foreground))]).collect()
}

fn classify<'a>(graph: &Graph, node: &'a Node) -> Owners<'a> {
    let mut owners = Owners::default();
    for reference in &node.owners {
        let address = node.address(reference);
        let known = graph.node(&reference.uid).filter(|o| is_at(o, &address));
        match known {
            Some(owner) if owner.is_foreground => owners.waiting.push(reference),
            Some(_) => owners.solid.push(reference),
            None if graph.is_absent(&address) => owners.dangling.push(reference),
            None => owners.unknown.push(address),
        }
    }
    owners
}

/// Whether a known object is the one that an address means: of that kind, and cluster-wide or in the same namespace.
fn is_at(owner: &Node, address: &Address) -> bool {
    let group = address.api_version.split_once('/').map_or("", |(group, _)| group);
    owner.resource.kind == address.kind
        && owner.resource.group == group
        && owner.key.name == address.key.name
        && (!owner.resource.namespaced || owner.key.namespace == address.key.namespace)
}

/// An object that waits for its dependents: when none blocks any more it may go.
fn foreground(graph: &Graph, uid: &Arc<str>, node: &Node) -> Option<Action> {
    let blocks = |dependent: &Node| {
        let reference = dependent.owners.iter().find(|o| *o.uid == **uid);
        reference.is_some_and(|o| o.block_owner_deletion == Some(true))
    };
    let is_blocked = graph.dependents_of(uid).any(|(_, dependent)| blocks(dependent));
    (!is_blocked).then(|| without_finalizer(uid, node, FOREGROUND))
}

/// An object that lets its dependents go: each loses the reference; afterwards the object may go.
fn orphan(graph: &Graph, uid: &Arc<str>, node: &Node) -> Vec<Step> {
    let mut steps = Vec::new();
    for (dependent, its) in graph.dependents_of(uid) {
        let references: Vec<&OwnerReference> = its.owners.iter().filter(|o| *o.uid == **uid).collect();
        let action = without_owners(dependent, its, &references);
        steps.push(Step::Act { uid: dependent.to_string(), action });
    }
    if steps.is_empty() {
        let action = without_finalizer(uid, node, ORPHAN);
        steps.push(Step::Act { uid: uid.to_string(), action });
    }
    steps
}

fn target(uid: &Arc<str>, node: &Node) -> Target {
    Target {
        resource: (*node.resource).clone(),
        key: node.key.clone(),
        uid: uid.to_string(),
        revision: Some(node.revision),
    }
}

/// Fenced by version: owners that were added since keep it alive.
fn delete(uid: &Arc<str>, node: &Node, propagation: Propagation) -> Action {
    Action::Delete {
        target: target(uid, node),
        grace_seconds: None,
        propagation: Some(propagation),
        risk: risk_of(&node.resource),
    }
}

fn without_owners(uid: &Arc<str>, node: &Node, gone: &[&OwnerReference]) -> Action {
    let left = node.owners.iter().filter(|o| gone.iter().all(|g| g.uid != o.uid));
    let left: Vec<&OwnerReference> = left.collect();
    owners(uid, node, json!(left))
}

fn unblocked(uid: &Arc<str>, node: &Node) -> Action {
    let free = |o: &OwnerReference| OwnerReference { block_owner_deletion: Some(false), ..o.clone() };
    let all: Vec<OwnerReference> = node.owners.iter().map(free).collect();
    owners(uid, node, json!(all))
}

/// A merge patch serves every kind; it replaces the whole list, so it is fenced by version.
fn owners(uid: &Arc<str>, node: &Node, references: Value) -> Action {
    patch(uid, node, json!({"metadata": {"ownerReferences": references}}))
}

fn patch(uid: &Arc<str>, node: &Node, body: Value) -> Action {
    let target = target(uid, node);
    Action::Patch { target, subresource: "", form: Form::Merge, body, risk: Risk::None }
}

/// The other finalizers stay as they are.
fn without_finalizer(uid: &Arc<str>, node: &Node, finalizer: &str) -> Action {
    let left: Vec<&String> = node.finalizers.iter().filter(|f| *f != finalizer).collect();
    patch(uid, node, json!({"metadata": {"finalizers": left}}))
}
