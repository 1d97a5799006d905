//! The revisions of a set: the one it is updated to, and the one it comes from.

use std::sync::Arc;

use api_core::ControllerRevision;
use api_meta::{Object, OwnerReference};
use api_workload::{CloneSetSpec, names};
use reconcile::{Action, Form, Risk, Target};
use serde_json::{Map, Value, json};
use workload_kit::revision::{self, Found, Wanted};

use super::{Observed, Set};

/// The two revisions that pods are compared with.
#[derive(Clone, Debug)]
pub(super) struct History {
    /// What all pods had last.
    pub current: Arc<ControllerRevision>,
    /// What the template says now.
    pub update: Arc<ControllerRevision>,
}

/// The write that must come before anything refers to a revision.
pub(super) struct WriteFirst {
    pub write: Action,
    /// Collisions known then.
    pub collisions: i32,
}

/// The history, or the write that must come first.
pub(super) fn resolve(seen: &Observed, spec: &CloneSetSpec) -> Result<History, Box<WriteFirst>> {
    let wanted = Wanted {
        owner: &seen.set.metadata,
        reference: owner_reference(&seen.set),
        data: revision::data(&spec.template),
        labels: template_labels(&spec.template),
        annotations: vec![(names::CLAIM_TEMPLATE_HASH, claims_hash(&spec.volume_claim_templates))],
        collisions: seen.set.status.collision_count,
    };
    let update = match revision::find(&wanted, &seen.revisions, |name| seen.taken.contains(name)) {
        Found::Newest(update) => update,
        Found::Older(equal, number) => {
            let patch = Action::Patch {
                target: Target::at(&*equal),
                subresource: "",
                form: Form::Merge,
                body: json!({ "revision": number }),
                risk: Risk::None,
            };
            return Err(Box::new(WriteFirst { write: patch, collisions: seen.set.status.collision_count }));
        }
        Found::Missing { body, collisions } => {
            let create = Action::Create { resource: ControllerRevision::RESOURCE, body: *body };
            return Err(Box::new(WriteFirst { write: create, collisions }));
        }
    };
    let named = seen.revisions.iter().find(|r| r.metadata.name == seen.set.status.current_revision);
    Ok(History { current: named.unwrap_or(&update).clone(), update })
}

/// How the pods, claims and revisions of a set refer to it.
pub(super) fn owner_reference(set: &Set) -> OwnerReference {
    OwnerReference {
        api_version: set.resource.api_version(),
        kind: set.resource.kind.to_string(),
        name: set.metadata.name.clone(),
        uid: set.metadata.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

fn template_labels(template: &Value) -> Map<String, Value> {
    template["metadata"]["labels"].as_object().cloned().unwrap_or_default()
}

fn claims_hash(templates: &[Value]) -> String {
    revision::hash(&json!(templates), 0)
}
