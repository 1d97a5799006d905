//! The disruption budget of a workload that has none.

use std::collections::{BTreeMap, BTreeSet};

use api_core::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use api_meta::{IntOrPercent, Object, Requirement};
use reconcile::{Action, Form, Note, Plan, Risk, Severity, Target};
use serde_json::{Value, json};

use crate::stability::workload::Workload;
use crate::stability::{Observed, STABILITY};

/// Of the pods, rounded up by everybody who reads it: never less than one, so that no node is ever undrainable by it.
const AWAY: IntOrPercent = IntOrPercent::Percent(20);
/// Fewer replicas have nothing to lose by one more disruption.
const REPLICAS_MIN: i32 = 2;

pub(crate) fn steps(seen: &Observed, plan: &mut Plan) {
    let mut taken: BTreeSet<String> =
        seen.ours.iter().chain(&seen.foreign).map(|b| b.metadata.name.clone()).collect();
    for workload in &seen.workloads {
        let own = seen.ours.iter().filter(|b| owner_of(b) == Some(workload.target.uid.as_str()));
        let mut own = own.filter(|b| !b.metadata.is_terminating());
        let first = own.next();
        own.for_each(|surplus| plan.act(remove(surplus)));
        match (first, wants(seen, workload)) {
            (None, Ok(())) => {
                let name = name_of(workload, &taken);
                create(workload, &name, plan);
                taken.insert(name);
            }
            (Some(budget), Ok(())) => plan.actions.extend(correct(budget, workload)),
            (Some(budget), Err(why)) => {
                let message = format!("Deleted default disruption budget {}: {why}", budget.metadata.name);
                let note = Note::new(Severity::Normal, "DefaultBudgetDeleted", message);
                plan.act_noting(remove(budget), Note { about: Some(workload.target.clone()), ..note });
            }
            (None, Err(_)) => {}
        }
    }
}

/// Why a workload gets no budget of ours.
fn wants(seen: &Observed, workload: &Workload) -> Result<(), String> {
    if !seen.is_enabled {
        return Err("the namespace does not ask for default stability any more".to_owned());
    }
    if workload.is_off {
        return Err(format!("annotation {STABILITY} of the workload is disabled"));
    }
    if workload.has_sets {
        return Err("its pod sets have budgets of their own".to_owned());
    }
    if workload.is_terminating {
        return Err("the workload is going away".to_owned());
    }
    if workload.replicas < REPLICAS_MIN {
        return Err(format!("the workload has fewer than {REPLICAS_MIN} replicas"));
    }
    match seen.foreign.iter().find(|b| covers(b, &workload.labels)) {
        Some(other) => Err(format!("{} covers its pods", other.metadata.name)),
        None => Ok(()),
    }
}

/// Whether a budget covers pods that are born with these labels. Pods get further labels later (cells, revisions, instances):
/// a budget that asks for such a one beside one of these is taken to cover some of them, because two over one pod do harm.
fn covers(budget: &PodDisruptionBudget, labels: &BTreeMap<String, String>) -> bool {
    let selector = budget.spec.selector.as_ref().and_then(|s| s.selector().ok());
    let Some(selector) = selector else { return false };
    let may_come = |r: &Requirement| match r {
        Requirement::In(key, _) | Requirement::Exists(key) => !labels.contains_key(key),
        _ => false,
    };
    let met = selector.0.iter().filter(|r| r.matches(labels)).count();
    let open = selector.0.iter().filter(|r| may_come(r)).count();
    met + open == selector.0.len() && (met > 0 || selector.is_empty())
}

fn owner_of(budget: &PodDisruptionBudget) -> Option<&str> {
    budget.metadata.controller().map(|o| o.uid.as_str())
}

fn create(workload: &Workload, name: &str, plan: &mut Plan) {
    let namespace = &workload.target.key.namespace;
    let why = format!(
        "{} {} declares no disruption budget, and namespace {namespace} asks for default stability. To do without: annotate \
         either with {STABILITY}=disabled, or make a budget of your own.",
        workload.resource.kind, workload.target.key.name
    );
    let body = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {
            "name": name, "namespace": namespace, "labels": {STABILITY: "true"},
            "annotations": {"kubernetes.io/description": why}, "ownerReferences": [workload.reference()],
        },
        "spec": spec(workload),
    });
    let message =
        format!("Created default disruption budget {name}: at most {AWAY} of the pods away by choice");
    let note = Note::new(Severity::Normal, "DefaultBudgetCreated", message);
    let action = Action::Create { resource: PodDisruptionBudget::RESOURCE, body };
    plan.act_noting(action, Note { about: Some(workload.target.clone()), ..note });
}

fn spec(workload: &Workload) -> Value {
    json!({"selector": workload.selector, "maxUnavailable": AWAY})
}

/// A name that says what it is for; the kind is in it, for two kinds may share a name.
fn name_of(workload: &Workload, taken: &BTreeSet<String>) -> String {
    let kind = workload.resource.kind.to_lowercase();
    // Names have at most 253 letters.
    let own: String = workload.target.key.name.chars().take(200).collect();
    let names = (0..).map(|n| match n {
        0 => format!("{own}-{kind}-default"),
        n => format!("{own}-{kind}-default-{n}"),
    });
    let mut free = names.filter(|name| !taken.contains(name));
    free.next().expect("a namespace has finitely many budgets")
}

/// Brings a budget of ours back to what it should be; nothing when it is.
fn correct(budget: &PodDisruptionBudget, workload: &Workload) -> Option<Action> {
    let wanted = PodDisruptionBudgetSpec {
        selector: Some(workload.selector.clone()),
        min_available: None,
        max_unavailable: Some(AWAY),
    };
    (budget.spec != wanted).then(|| {
        let mut body = json!({"spec": spec(workload)});
        body["spec"]["minAvailable"] = Value::Null;
        let kept = budget.spec.selector.clone().unwrap_or_default();
        for label in kept.match_labels.keys().filter(|l| !workload.selector.match_labels.contains_key(*l)) {
            body["spec"]["selector"]["matchLabels"][label] = Value::Null;
        }
        if workload.selector.match_expressions.is_empty() && !kept.match_expressions.is_empty() {
            body["spec"]["selector"]["matchExpressions"] = Value::Null;
        }
        let target = Target::at(budget);
        Action::Patch { target, subresource: "", form: Form::Merge, body, risk: Risk::None }
    })
}

fn remove(budget: &PodDisruptionBudget) -> Action {
    Action::Delete { target: Target::at(budget), grace_seconds: None, propagation: None, risk: Risk::None }
}
