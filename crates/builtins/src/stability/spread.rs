//! Spreading over cells and hosts, for workloads that say nothing about it.
//!
//! A template is changed only while no pod can be touched by that: with no pods, in a version that wants none or is paused.
//! Everywhere else it is said what would be added, for the change rolls the pods out. Hosts and zones are spread over by every
//! scheduler without being asked; cells are ours.

use api_workload::names::cafe::CELL_LABEL;
use reconcile::{Action, Form, Note, Plan, Risk, Severity};
use serde_json::{Value, json};

use crate::stability::Observed;
use crate::stability::workload::{SpreadBy, Workload};

const HOST: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";

pub(crate) fn steps(seen: &Observed, plan: &mut Plan) {
    if !seen.is_enabled || seen.cells < 2 {
        return;
    }
    let silent =
        seen.workloads.iter().filter(|w| w.spread == SpreadBy::Nobody && !w.is_off && !w.is_terminating);
    for workload in silent {
        if workload.is_empty {
            plan.act_noting(add(workload), added(workload));
        } else if workload.replicas > 1 {
            plan.note(wish(workload, seen.cells));
        }
    }
}

fn add(workload: &Workload) -> Action {
    Action::Patch {
        // In exactly this version nobody makes pods.
        target: workload.target.clone(),
        subresource: "",
        form: Form::Merge,
        body: json!({"spec": {"template": {"spec": {"topologySpreadConstraints": constraints(workload)}}}}),
        risk: Risk::None,
    }
}

/// Soft ones: a wish to spread must not leave a pod pending. A pod with any of its own gets none of the scheduler's, so
/// hosts and zones are named too.
fn constraints(workload: &Workload) -> Value {
    let over = |key: &str| {
        json!({
            "maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": workload.selector,
        })
    };
    json!([over(CELL_LABEL), over(HOST), over(ZONE)])
}

fn added(workload: &Workload) -> Note {
    let message = "Added topology spread constraints over cells, hosts and zones: the template declared none"
        .to_owned();
    let note = Note::new(Severity::Normal, "DefaultSpreadAdded", message);
    Note { about: Some(workload.target.clone()), ..note }
}

fn wish(workload: &Workload, cells: usize) -> Note {
    let message = format!(
        "its pods are spread over hosts and zones by the scheduler alone, over the {cells} cells by chance. Adding constraints \
         now would roll them out; to have it with the next release, set spec.template.spec.topologySpreadConstraints to {}",
        constraints(workload)
    );
    let note = Note::new(Severity::Why, "DefaultSpreadHeld", message);
    Note { about: Some(workload.target.clone()), ..note }
}
