//! What an action of a controller means for people.

use api_core::drain;
use api_meta::Resource;
use reconcile::{Action, Risk};
use serde_json::Value;

use crate::output::reference;
use crate::scene::{PODS, is_same};
use api_workload::names::{REVISION_LABEL as REVISION, SPECIFIED_DELETE_LABEL as SPECIFIED_DELETE};

/// An effect on what runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Deed {
    /// A pod's gate closes: it leaves traffic.
    LeaveTraffic,
    /// Its containers are replaced under the same address; the images they go to.
    InPlace(Vec<String>),
    /// It is marked to be deleted and made anew.
    MakeAnew,
    /// A pod is deleted.
    DeletePod,
    /// A pod is created.
    CreatePod,
    /// A pod follows to another revision; its containers go on.
    Relabel,
    /// A pod's gate opens: it goes back into traffic.
    EnterTraffic,
    /// The size of a set changes.
    Scale(i64),
    /// Something else is created, changed or deleted that people may want to hear of.
    Other(&'static str),
    /// Status, labels, revisions: nothing that runs is concerned.
    Books,
}

/// What an action does.
pub(crate) fn deed(action: &Action) -> Deed {
    let pod = is_same(action.resource(), &PODS);
    match action {
        Action::Require { .. } => Deed::Books,
        Action::Create { .. } if pod => Deed::CreatePod,
        Action::Delete { .. } if pod => Deed::DeletePod,
        Action::Create { .. } | Action::Delete { .. } if is_book(action.resource()) => Deed::Books,
        Action::Create { .. } => Deed::Other("create"),
        Action::Delete { .. } => Deed::Other("delete"),
        Action::Patch { body, .. } if pod => pod_patch(body),
        Action::Patch { body, subresource, risk, .. } => match body["spec"]["replicas"].as_i64() {
            Some(replicas) => Deed::Scale(replicas),
            None if subresource.is_empty() && body["spec"].is_object() => Deed::Other("change"),
            None if *risk > Risk::None => Deed::Other("change"),
            None => Deed::Books,
        },
    }
}

/// Kinds in which controllers keep what they have to remember.
fn is_book(resource: &Resource) -> bool {
    matches!(&*resource.plural, "controllerrevisions" | "events" | "leases" | "endpoints" | "endpointslices")
}

fn pod_patch(body: &Value) -> Deed {
    let containers = body["spec"]["containers"].as_array();
    let images: Vec<String> = containers
        .into_iter()
        .flatten()
        .filter_map(|c| Some(format!("{}={}", c["name"].as_str()?, c["image"].as_str()?)))
        .collect();
    if !images.is_empty() {
        return Deed::InPlace(images);
    }
    if body["metadata"]["labels"][SPECIFIED_DELETE] == "true" {
        return Deed::MakeAnew;
    }
    let conditions = body["status"]["conditions"].as_array();
    let gate = conditions
        .into_iter()
        .flatten()
        .find(|c| [drain::INPLACE_READY, drain::SERVICE_READY].iter().any(|gate| c["type"] == *gate));
    match gate.and_then(|c| c["status"].as_str()) {
        Some("False") => Deed::LeaveTraffic,
        Some("True") => Deed::EnterTraffic,
        _ if !body["metadata"]["labels"][REVISION].is_null() => Deed::Relabel,
        _ => Deed::Books,
    }
}

/// ` -n NAME` where a command needs it.
pub(crate) fn namespace_flag(namespace: &str) -> String {
    if matches!(namespace, "" | "default") { String::new() } else { format!(" -n {namespace}") }
}

/// The sentence for an action; nothing for bookkeeping.
pub(crate) fn told(action: &Action) -> Option<String> {
    let key = action.key();
    let pod = &key.name;
    let name = || reference(&action.resource().api_version(), &action.resource().kind, &key.name);
    Some(match deed(action) {
        Deed::LeaveTraffic => format!("take pod {pod} out of traffic"),
        Deed::InPlace(images) => format!("update pod {pod} in place to {}", images.join(", ")),
        Deed::MakeAnew => format!("mark pod {pod} to be made anew"),
        Deed::DeletePod => format!("delete pod {pod}"),
        Deed::CreatePod => format!("create pod {pod}"),
        Deed::Relabel => format!("bring pod {pod} to the new revision without a restart"),
        Deed::EnterTraffic => format!("put pod {pod} back into traffic"),
        Deed::Scale(replicas) => format!("scale {} to {replicas}", name()),
        Deed::Other(verb) => format!("{verb} {}", name()),
        Deed::Books => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use api_meta::ObjectKey;
    use reconcile::{Form, Target};
    use serde_json::json;

    fn patch(resource: Resource, body: Value) -> Action {
        let target = Target { resource, key: ObjectKey::new("shop", "a"), uid: "u".into(), revision: None };
        Action::Patch { target, subresource: "", form: Form::Merge, body, risk: Risk::None }
    }

    #[test]
    fn actions_are_told_by_what_they_do_to_running_pods() {
        let sets = Resource::namespaced("apps", "v1", "replicasets", "ReplicaSet");
        let told = |resource: &Resource, body: Value| told(&patch(resource.clone(), body));
        let gate = |status: &str| json!({"status": {"conditions": [{"type": "InPlaceUpdateReady", "status": status}]}});
        let images = json!({"spec": {"containers": [{"name": "main", "image": "web:2"}]}});
        assert_eq!(told(&PODS, gate("False")).as_deref(), Some("take pod a out of traffic"));
        assert_eq!(told(&PODS, images).as_deref(), Some("update pod a in place to main=web:2"));
        assert_eq!(told(&PODS, gate("True")).as_deref(), Some("put pod a back into traffic"));
        assert_eq!(told(&PODS, json!({"metadata": {"labels": {"x": "y"}}})), None);
        assert_eq!(
            told(&sets, json!({"spec": {"replicas": 3}})).as_deref(),
            Some("scale replicaset.apps/a to 3")
        );
        assert_eq!(told(&sets, json!({"status": {"replicas": 3}})), None);
    }
}
