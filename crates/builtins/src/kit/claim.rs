//! Which children belong to an owner: those it controls and still selects; orphans it selects are adopted.

use std::sync::Arc;

use api_meta::{Object, ObjectMeta, OwnerReference, Selector};
use reconcile::{Action, Cache, Form, Risk, Target};
use serde_json::json;

/// The children of an owner by what is to be done with them; each list in name order.
pub(crate) struct Claims<T> {
    /// Controlled and selected.
    pub kept: Vec<Arc<T>>,
    /// Selected, without a controller.
    pub adopted: Vec<Arc<T>>,
    /// Controlled, no longer selected.
    pub released: Vec<Arc<T>>,
}

impl<T: Object> Claims<T> {
    /// Sorts the children of `owner`. Terminating children are neither adopted nor released.
    pub(crate) fn of(cache: &Cache<T>, owner: &ObjectMeta, selector: &Selector) -> Claims<T> {
        let mut claims = Claims { kept: Vec::new(), adopted: Vec::new(), released: Vec::new() };
        for child in cache.owned_by(&owner.uid) {
            let meta = child.meta();
            if meta.namespace != owner.namespace {
                continue;
            }
            if selector.matches(&meta.labels) {
                claims.kept.push(child.clone());
            } else if !meta.is_terminating() && !owner.is_terminating() {
                claims.released.push(child.clone());
            }
        }
        if !owner.is_terminating() {
            let orphans = cache.orphans_in(&owner.namespace);
            let wanted = |m: &ObjectMeta| !m.is_terminating() && selector.matches(&m.labels);
            claims.adopted.extend(orphans.filter(|o| wanted(o.meta())).cloned());
        }
        claims
    }

    /// The patches that put owner references right. An owner that adopts is asked first whether it is still there.
    pub(crate) fn actions<O: Object>(&self, owner: &O) -> Vec<Action> {
        let mut actions = Vec::new();
        if !self.adopted.is_empty() {
            actions.push(Action::Require { target: Target::of(owner) });
        }
        actions.extend(self.adopted.iter().map(|child| adopt(&**child, owner)));
        actions.extend(self.released.iter().map(|child| release(&**child, owner.meta())));
        actions
    }
}

/// The reference by which `owner` controls its children.
pub(crate) fn owner_reference<O: Object>(owner: &O) -> OwnerReference {
    let meta = owner.meta();
    OwnerReference {
        api_version: O::RESOURCE.api_version(),
        kind: O::RESOURCE.kind.to_string(),
        name: meta.name.clone(),
        uid: meta.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// Makes `owner` the controller of a child without one.
pub(crate) fn adopt<T: Object, O: Object>(child: &T, owner: &O) -> Action {
    change_owners(child, json!([owner_reference(owner)]))
}

/// Ends an owner's control of a child.
pub(crate) fn release<T: Object>(child: &T, owner: &ObjectMeta) -> Action {
    change_owners(child, json!([{"$patch": "delete", "uid": owner.uid}]))
}

fn change_owners<T: Object>(child: &T, references: serde_json::Value) -> Action {
    Action::Patch {
        target: Target::of(child),
        subresource: "",
        form: Form::Strategic,
        body: json!({"metadata": {"ownerReferences": references}}),
        risk: Risk::None,
    }
}

/// Whether a reference names this kind.
pub(crate) fn is_owner(reference: &OwnerReference, group: &str, kind: &str) -> bool {
    let own = reference.api_version.split_once('/').map_or("", |(group, _)| group);
    reference.kind == kind && own == group
}
