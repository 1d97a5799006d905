//! Namespace deletion: everything in a terminating namespace goes, then the namespace's own finalizer (as
//! kube-controller-manager 1.36).
//!
//! What is in a namespace is known to nobody's cache, for kinds come and go: the shell lists it and passes it in.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use api_core::Namespace;
use api_meta::{Condition, ObjectKey, Resource, set_condition};
use reconcile::{Action, Form, Permission, Plan, Propagation, Risk, Target};
use serde_json::json;
use stdx::Time;

/// The name under which it acts.
pub const NAME: &str = "namespace-controller";
/// The finalizer of Kubernetes itself.
const FINALIZER: &str = "kubernetes";
/// When to look again while something remains.
const AGAIN: Duration = Duration::from_secs(2);

/// What is in a namespace, as listed live.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Content {
    /// Groups whose kinds could not be found out, with the reason.
    pub undiscovered: Vec<(String, String)>,
    /// Collections that could not be listed, with the reason.
    pub unlisted: Vec<(Resource, String)>,
    /// Objects that the last attempt could not delete, with the reason.
    pub undeleted: Vec<String>,
    /// Everything found.
    pub objects: Vec<Found>,
}

/// One object.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// Its collection.
    pub resource: Resource,
    /// Where it lives.
    pub key: ObjectKey,
    /// Its identity.
    pub uid: String,
    /// Deletion was asked for already.
    pub is_terminating: bool,
    /// Who must act first.
    pub finalizers: Vec<String>,
}

/// What it may do: it must reach kinds that nobody foresaw.
pub fn permissions() -> Vec<Permission> {
    vec![
        Permission {
            group: "*",
            resource: "*",
            verbs: &["get", "list", "watch", "delete", "deletecollection"],
        },
        Permission { group: "", resource: "namespaces/finalize", verbs: &["update"] },
        Permission { group: "", resource: "namespaces/status", verbs: &["patch", "update"] },
        Permission { group: "", resource: "events", verbs: &["create", "patch"] },
    ]
}

/// What to do about a terminating namespace with this content.
pub fn plan(namespace: &Namespace, content: &Content, now: Time) -> Plan {
    let mut plan = Plan::new();
    if !namespace.metadata.is_terminating() || namespace.spec.finalizers.is_empty() {
        return plan;
    }
    let mut conditions = namespace.status.conditions.clone();
    for condition in judge(content) {
        set_condition(&mut conditions, Condition { last_transition_time: Some(now), ..condition });
    }
    if conditions != namespace.status.conditions || namespace.status.phase != "Terminating" {
        let status = json!({"phase": "Terminating", "conditions": conditions});
        plan.act(Action::status(Target::of(namespace), status));
    }
    for object in content.objects.iter().filter(|o| !o.is_terminating) {
        plan.act(delete(object));
    }
    let is_whole = content.undiscovered.is_empty() && content.unlisted.is_empty();
    if is_whole && content.objects.is_empty() {
        plan.act(finalize(namespace));
    } else {
        plan.wake_at(now + AGAIN);
    }
    plan
}

fn delete(object: &Found) -> Action {
    let (key, uid) = (object.key.clone(), object.uid.clone());
    Action::Delete {
        target: Target { resource: object.resource.clone(), key, uid, revision: None },
        grace_seconds: None,
        propagation: Some(Propagation::Background),
        risk: risk_of(&object.resource),
    }
}

/// How dangerous the deletion of an object of a kind is.
pub(crate) fn risk_of(resource: &Resource) -> Risk {
    match (&*resource.group, &*resource.plural) {
        ("", "pods") => Risk::RemovePod,
        ("", "persistentvolumeclaims" | "persistentvolumes" | "namespaces" | "nodes") => Risk::Destroy,
        ("apps" | "batch" | "apps.kruise.io" | "apps.cafe.cloud.alipay.com", plural)
            if plural != "controllerrevisions" =>
        {
            Risk::Destroy
        }
        _ => Risk::None,
    }
}

/// The subresource takes whole objects and keeps nothing but `spec.finalizers` of them.
fn finalize(namespace: &Namespace) -> Action {
    let left: Vec<&String> = namespace.spec.finalizers.iter().filter(|f| *f != FINALIZER).collect();
    let meta = &namespace.metadata;
    let mut metadata = json!({"name": meta.name, "uid": meta.uid, "labels": meta.labels});
    metadata["annotations"] = json!(meta.annotations);
    metadata["finalizers"] = json!(meta.finalizers);
    Action::Patch {
        target: Target::of(namespace),
        subresource: "finalize",
        form: Form::Replace,
        body: json!({"metadata": metadata, "spec": {"finalizers": left}}),
        risk: Risk::Destroy,
    }
}

fn judge(content: &Content) -> Vec<Condition> {
    let discovery = match content.undiscovered.len() {
        0 => good(
            "NamespaceDeletionDiscoveryFailure",
            "ResourcesDiscovered",
            "All resources successfully discovered",
        ),
        n => {
            let each = content.undiscovered.iter().map(|(group, error)| format!("{group}: {error}"));
            let list: Vec<String> = each.collect();
            let message = format!("Discovery failed for some groups, {n} failing: {}", list.join(", "));
            bad("NamespaceDeletionDiscoveryFailure", "DiscoveryFailed", message)
        }
    };
    let parsing = good(
        "NamespaceDeletionGroupVersionParsingFailure",
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    );
    let unlisted = content.unlisted.iter().map(|(resource, error)| format!("{resource}: {error}"));
    let failures: Vec<String> = unlisted.chain(content.undeleted.iter().cloned()).collect();
    let deletion = if failures.is_empty() {
        let message = "All content successfully deleted, may be waiting on finalization";
        good("NamespaceDeletionContentFailure", "ContentDeleted", message)
    } else {
        let message = format!(
            "Failed to delete all resource types, {} remaining: {}",
            failures.len(),
            failures.join(", ")
        );
        bad("NamespaceDeletionContentFailure", "ContentDeletionFailed", message)
    };
    vec![discovery, parsing, deletion, remaining(content), waiting(content)]
}

fn remaining(content: &Content) -> Condition {
    let kind = "NamespaceContentRemaining";
    if content.objects.is_empty() {
        return good(kind, "ContentRemoved", "All content successfully removed");
    }
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for object in &content.objects {
        *counts.entry(format!("{}.{}", object.resource.plural, object.resource.group)).or_default() += 1;
    }
    let list: Vec<String> = counts.iter().map(|(r, n)| format!("{r} has {n} resource instances")).collect();
    bad(kind, "SomeResourcesRemain", format!("Some resources are remaining: {}", list.join(", ")))
}

fn waiting(content: &Content) -> Condition {
    let kind = "NamespaceFinalizersRemaining";
    let mut counts: BTreeMap<&String, usize> = BTreeMap::new();
    for finalizer in content.objects.iter().flat_map(|o| &o.finalizers) {
        *counts.entry(finalizer).or_default() += 1;
    }
    if counts.is_empty() {
        return good(kind, "ContentHasNoFinalizers", "All content-preserving finalizers finished");
    }
    let list: Vec<String> = counts.iter().map(|(f, n)| format!("{f} in {n} resource instances")).collect();
    let message = format!("Some content in the namespace has finalizers remaining: {}", list.join(", "));
    bad(kind, "SomeFinalizersRemain", message)
}

/// These conditions are about trouble: `False` is good.
fn good(kind: &str, reason: &str, message: &str) -> Condition {
    condition(kind, "False", reason, message.to_owned())
}

fn bad(kind: &str, reason: &str, message: String) -> Condition {
    condition(kind, "True", reason, message)
}

fn condition(kind: &str, status: &str, reason: &str, message: String) -> Condition {
    let text = str::to_owned;
    Condition {
        r#type: text(kind),
        status: text(status),
        reason: text(reason),
        message,
        ..Condition::default()
    }
}

/// What is in a namespace by a collection's list (`PartialObjectMetadata`).
pub fn found(resource: &Resource, metadata: &api_meta::ObjectMeta) -> Found {
    Found {
        resource: resource.clone(),
        key: metadata.key(),
        uid: metadata.uid.clone(),
        is_terminating: metadata.is_terminating(),
        finalizers: metadata.finalizers.clone(),
    }
}
