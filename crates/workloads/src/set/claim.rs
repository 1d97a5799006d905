//! What belongs to the set: pods that no longer match are let go, claims without a pod are cleaned up.

use std::collections::BTreeSet;

use api_core::{PersistentVolumeClaim, Pod};
use reconcile::{Action, Form, Plan, Risk, Target};
use serde_json::json;
use workload_kit::podfact;

use super::view::View;

/// Lets go of strays and of claims that are not to be reused.
pub(super) fn steps(view: &View<'_>) -> Plan {
    let mut plan = Plan::new();
    let mut strays: Vec<_> = view.seen.strays.iter().collect();
    strays.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    for stray in strays {
        let body = json!({"metadata": {"ownerReferences": [{"$patch": "delete", "uid": view.seen.set.metadata.uid}]}});
        plan.act(Action::Patch {
            target: Target::at(&**stray),
            subresource: "",
            form: Form::Strategic,
            body,
            risk: Risk::None,
        });
    }
    if !view.spec.scale_strategy.enable_pvc_reuse {
        clean_claims(view, &mut plan);
    }
    plan
}

/// A claim whose pod is leaving goes with that pod; one whose pod is gone is deleted. Claims of pods that are about to be
/// created stay.
fn clean_claims(view: &View<'_>, plan: &mut Plan) {
    let seen = view.seen;
    let ids = |pods: &[std::sync::Arc<Pod>]| -> BTreeSet<String> {
        pods.iter().filter_map(|p| podfact::instance_id(&p.metadata.labels)).map(str::to_owned).collect()
    };
    let mut kept = ids(&seen.pods);
    kept.extend(ids(&seen.strays));
    kept.extend(seen.ids.iter().cloned());
    for claim in &view.claims {
        let Some(id) = podfact::instance_id(&claim.metadata.labels).filter(|id| !kept.contains(*id)) else {
            continue;
        };
        let leaving = seen.leaving.iter().find(|p| podfact::instance_id(&p.metadata.labels) == Some(id));
        plan.act(match leaving {
            Some(pod) => hand_over(view, claim, pod),
            None => Action::Delete {
                target: Target::at(&**claim),
                grace_seconds: None,
                propagation: None,
                risk: Risk::Destroy,
            },
        });
    }
}

/// The claim's owner becomes the pod, so that the garbage collector takes it after the pod.
fn hand_over(view: &View<'_>, claim: &PersistentVolumeClaim, pod: &Pod) -> Action {
    let body = json!({"metadata": {"ownerReferences": [
        {"$patch": "delete", "uid": view.seen.set.metadata.uid},
        {"apiVersion": "v1", "kind": "Pod", "name": pod.metadata.name, "uid": pod.metadata.uid},
    ]}});
    Action::Patch {
        target: Target::at(claim),
        subresource: "",
        form: Form::Strategic,
        body,
        risk: Risk::None,
    }
}
