//! The revisions of a CafeDeployment: its templates, as its user wrote them.

use std::collections::BTreeSet;
use std::sync::Arc;

use api_core::ControllerRevision;
use api_meta::Object;
use api_workload::CafeDeploymentSpec;
use api_workload::names::cafe as words;
use reconcile::{Action, Form, Propagation, Risk, Target};
use serde_json::json;
use workload_kit::revision::{self, Found, Wanted};

use super::Observed;
use super::podset::owner_reference;

/// The write that must come before anything refers to a revision.
pub(super) struct WriteFirst {
    pub write: Action,
    /// Collisions known then.
    pub collisions: i32,
}

/// The revision of the template, or the write that must come first.
pub(super) fn resolve(
    seen: &Observed,
    spec: &CafeDeploymentSpec,
) -> Result<Arc<ControllerRevision>, Box<WriteFirst>> {
    let collisions = seen.cafe.status.collision_count;
    let wanted = Wanted {
        owner: &seen.cafe.metadata,
        reference: owner_reference(&seen.cafe),
        data: revision::data(&spec.template),
        labels: spec.template["metadata"]["labels"].as_object().cloned().unwrap_or_default(),
        annotations: Vec::new(),
        collisions,
    };
    match revision::find(&wanted, &seen.revisions, |name| seen.taken.contains(name)) {
        Found::Newest(update) => Ok(update),
        Found::Older(equal, number) => {
            let write = Action::Patch {
                target: Target::at(&*equal),
                subresource: "",
                form: Form::Merge,
                body: json!({ "revision": number }),
                risk: Risk::None,
            };
            Err(Box::new(WriteFirst { write, collisions }))
        }
        Found::Missing { body, collisions } => {
            let write = Action::Create { resource: ControllerRevision::RESOURCE, body: *body };
            Err(Box::new(WriteFirst { write, collisions }))
        }
    }
}

/// Deletes the oldest revisions that neither the CafeDeployment nor a pod set nor a pod has.
pub(super) fn tidy(seen: &Observed, limit: i32, update: &str) -> Vec<Action> {
    let status = &seen.cafe.status;
    let mut live: BTreeSet<&str> = [update, status.current_revision.as_str(), &status.update_revision].into();
    live.extend(seen.sets.iter().map(|s| s.revision.as_str()));
    live.extend(
        seen.pods.iter().filter_map(|p| p.pod.metadata.labels.get(words::REVISION_LABEL)).map(String::as_str),
    );
    let live: Vec<&str> = live.into_iter().collect();
    let surplus = revision::surplus(&seen.revisions, &live, &[], limit);
    let delete = |r: &Arc<ControllerRevision>| Action::Delete {
        target: Target::at(&**r),
        grace_seconds: None,
        propagation: Some(Propagation::Background),
        risk: Risk::None,
    };
    surplus.iter().map(delete).collect()
}

/// The revision that a `rollback-to` annotation means; nothing when there is none like it.
pub(super) fn named<'a>(seen: &'a Observed, wish: &str, update: &str) -> Option<&'a Arc<ControllerRevision>> {
    let by_name = |name: &str| seen.revisions.iter().find(|r| r.metadata.name == name);
    if wish != "previous" {
        return by_name(wish);
    }
    let current = by_name(&seen.cafe.status.current_revision).filter(|r| r.metadata.name != update);
    current.or_else(|| seen.revisions.iter().rev().find(|r| r.metadata.name != update))
}
