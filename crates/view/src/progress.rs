//! How far a workload has come.

use serde_json::Value;

/// Counts of a workload and what they amount to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Pods wanted.
    pub desired: i64,
    /// Pods that shall be of the newest revision now; fewer than `desired` while a partition holds some back.
    pub target: i64,
    /// Pods of the newest revision.
    pub updated: i64,
    /// Of these, available.
    pub updated_available: i64,
    /// Ready pods of any revision.
    pub ready: i64,
    /// Available pods of any revision.
    pub available: i64,
    /// All pods that exist.
    pub replicas: i64,
    /// The newest revision, where the workload names it.
    pub revision: String,
    /// What it amounts to.
    pub stage: Stage,
}

/// What the counts amount to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// Its controller has not seen the newest spec yet.
    #[default]
    Unseen,
    /// On its way; the sentence says what is being waited for.
    Rolling(String),
    /// Somebody has paused it.
    Paused,
    /// It gave up; the sentence says why.
    Failed(String),
    /// Everything that is to happen now has happened.
    Done,
}

impl Progress {
    /// Whether nothing is left to wait for.
    pub fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }
}

/// The progress of an object; nothing for kinds that do not roll out.
pub fn progress(object: &Value) -> Option<Progress> {
    match object["kind"].as_str()? {
        "Deployment" => Some(deployment(object)),
        "CloneSet" => Some(cloneset(object)),
        "CafeDeployment" => Some(cafe(object)),
        "InPlaceSet" => Some(inplaceset(object)),
        "ReplicaSet" | "ReplicationController" => Some(replicaset(object)),
        "StatefulSet" => Some(statefulset(object)),
        "DaemonSet" => Some(daemonset(object)),
        "Job" => Some(job(object)),
        "Pod" => Some(pod(object)),
        _ => None,
    }
}

fn count(at: &Value, name: &str) -> i64 {
    at[name].as_i64().unwrap_or(0)
}

fn is_seen(object: &Value) -> bool {
    count(&object["status"], "observedGeneration") >= count(&object["metadata"], "generation")
}

fn base(object: &Value) -> Progress {
    let status = &object["status"];
    let desired = object["spec"]["replicas"].as_i64().unwrap_or(1);
    Progress {
        desired,
        target: desired,
        updated: count(status, "updatedReplicas"),
        updated_available: count(status, "updatedAvailableReplicas"),
        ready: count(status, "readyReplicas"),
        available: count(status, "availableReplicas"),
        replicas: count(status, "replicas"),
        revision: status["updateRevision"].as_str().unwrap_or_default().to_owned(),
        stage: Stage::Unseen,
    }
}

fn rolling(text: String) -> Stage {
    Stage::Rolling(text)
}

fn deployment(object: &Value) -> Progress {
    let mut p = base(object);
    // The status does not tell available pods by revision: old ones are there only while `replicas` exceeds `updated`.
    p.updated_available = (p.available - (p.replicas - p.updated)).clamp(0, p.updated);
    if !is_seen(object) {
        return p;
    }
    let conditions = object["status"]["conditions"].as_array();
    let late = conditions.into_iter().flatten().find(|c| c["reason"] == "ProgressDeadlineExceeded");
    p.stage = match late {
        Some(c) => Stage::Failed(c["message"].as_str().unwrap_or("progress deadline exceeded").to_owned()),
        None if p.updated < p.desired && object["spec"]["paused"] == true => Stage::Paused,
        None if p.updated < p.desired => {
            rolling(format!("{} of {} new pods have been made", p.updated, p.desired))
        }
        None if p.replicas > p.updated => {
            rolling(format!("{} old pods are still to go", p.replicas - p.updated))
        }
        None if p.available < p.updated => {
            rolling(format!("{} of {} new pods are available", p.available, p.updated))
        }
        None => Stage::Done,
    };
    p
}

fn cloneset(object: &Value) -> Progress {
    let mut p = base(object);
    let status = &object["status"];
    let paused = object.pointer("/spec/updateStrategy/rollingUpdate/paused").or_else(|| {
        // The older version keeps these one level higher.
        object.pointer("/spec/updateStrategy/paused")
    });
    p.target = status["expectedUpdatedReplicas"].as_i64().unwrap_or(p.desired);
    if !is_seen(object) {
        return p;
    }
    p.stage = match p.updated < p.target && paused == Some(&Value::Bool(true)) {
        true => Stage::Paused,
        false => pods_of_set(&p),
    };
    p
}

/// What the pods of a set that is updated by partition are waiting for.
fn pods_of_set(p: &Progress) -> Stage {
    if p.replicas < p.desired {
        rolling(format!("{} of {} pods exist", p.replicas, p.desired))
    } else if p.updated < p.target {
        rolling(format!("{} of {} pods of this batch are updated", p.updated, p.target))
    } else if p.updated_available < p.target {
        rolling(format!("{} of {} updated pods are available", p.updated_available, p.target))
    } else if p.replicas > p.desired {
        rolling(format!("{} pods too many are still to go", p.replicas - p.desired))
    } else if p.available < p.desired {
        rolling(format!("{} of {} pods are available", p.available, p.desired))
    } else {
        Stage::Done
    }
}

fn cafe(object: &Value) -> Progress {
    let mut p = base(object);
    if !is_seen(object) {
        return p;
    }
    if let Some(release) = crate::release(object) {
        p.stage = release.stage(&p);
    }
    p
}

fn inplaceset(object: &Value) -> Progress {
    let mut p = base(object);
    let partition = object.pointer("/spec/strategy/partition").and_then(Value::as_i64).unwrap_or(0);
    p.target = (p.desired - partition).clamp(0, p.desired);
    if is_seen(object) {
        p.stage = pods_of_set(&p);
    }
    p
}

fn replicaset(object: &Value) -> Progress {
    let mut p = base(object);
    (p.updated, p.updated_available) = (p.replicas, p.available);
    if is_seen(object) {
        p.stage = if p.replicas == p.desired && p.available >= p.desired {
            Stage::Done
        } else {
            rolling(format!("{} of {} pods are available", p.available, p.desired))
        };
    }
    p
}

fn statefulset(object: &Value) -> Progress {
    let mut p = base(object);
    let partition = object.pointer("/spec/updateStrategy/rollingUpdate/partition").and_then(Value::as_i64);
    p.target = (p.desired - partition.unwrap_or(0)).max(0);
    p.updated_available = p.updated.min(p.available);
    if is_seen(object) {
        p.stage = if p.ready < p.desired {
            rolling(format!("{} of {} pods are ready", p.ready, p.desired))
        } else if p.updated < p.target {
            rolling(format!("{} of {} pods are updated", p.updated, p.target))
        } else {
            Stage::Done
        };
    }
    p
}

fn daemonset(object: &Value) -> Progress {
    let status = &object["status"];
    let desired = count(status, "desiredNumberScheduled");
    let mut p = Progress {
        desired,
        target: desired,
        updated: count(status, "updatedNumberScheduled"),
        ready: count(status, "numberReady"),
        available: count(status, "numberAvailable"),
        replicas: count(status, "currentNumberScheduled"),
        ..Progress::default()
    };
    p.updated_available = p.updated.min(p.available);
    if is_seen(object) {
        p.stage = if p.updated < desired {
            rolling(format!("{} of {desired} nodes have the new pod", p.updated))
        } else if p.available < desired {
            rolling(format!("{} of {desired} pods are available", p.available))
        } else {
            Stage::Done
        };
    }
    p
}

fn job(object: &Value) -> Progress {
    let status = &object["status"];
    let desired = object["spec"]["completions"].as_i64().unwrap_or(1);
    let done = count(status, "succeeded");
    let is = |kind: &str| {
        let conditions = status["conditions"].as_array();
        conditions.into_iter().flatten().find(|c| c["type"] == kind && c["status"] == "True")
    };
    let stage = match is("Failed") {
        Some(c) => Stage::Failed(c["message"].as_str().unwrap_or("the job failed").to_owned()),
        None if is("Complete").is_some() => Stage::Done,
        None => rolling(format!("{done} of {desired} completions")),
    };
    Progress {
        desired,
        target: desired,
        updated: done,
        updated_available: done,
        ready: count(status, "ready"),
        available: done,
        replicas: count(status, "active"),
        stage,
        ..Progress::default()
    }
}

fn pod(object: &Value) -> Progress {
    let conditions = object["status"]["conditions"].as_array();
    let ready = conditions.into_iter().flatten().any(|c| c["type"] == "Ready" && c["status"] == "True");
    let phase = object["status"]["phase"].as_str().unwrap_or("Pending");
    let done = i64::from(ready || phase == "Succeeded");
    let stage = match phase {
        "Failed" => {
            Stage::Failed(object["status"]["message"].as_str().unwrap_or("the pod failed").to_owned())
        }
        _ if done == 1 => Stage::Done,
        _ => rolling(format!("the pod is {}", phase.to_lowercase())),
    };
    Progress {
        desired: 1,
        target: 1,
        updated: 1,
        updated_available: done,
        ready: done,
        available: done,
        replicas: 1,
        stage,
        ..Progress::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn stage(object: Value) -> Stage {
        progress(&object).unwrap().stage
    }

    fn cloneset(status: Value) -> Value {
        json!({"kind": "CloneSet", "metadata": {"generation": 2}, "spec": {"replicas": 10}, "status": status})
    }

    #[test]
    fn a_spec_nobody_has_seen_is_not_done() {
        let status = json!({"observedGeneration": 1, "replicas": 10, "updatedReplicas": 10, "availableReplicas": 10,
            "updatedAvailableReplicas": 10, "expectedUpdatedReplicas": 10});
        assert_eq!(stage(cloneset(status)), Stage::Unseen);
    }

    #[test]
    fn a_partition_ends_the_batch_early() {
        let status = |available: i32| {
            json!({"observedGeneration": 2, "replicas": 10, "updatedReplicas": 4, "availableReplicas": 10,
            "updatedAvailableReplicas": available, "expectedUpdatedReplicas": 4})
        };
        assert_eq!(stage(cloneset(status(4))), Stage::Done);
        assert_eq!(stage(cloneset(status(3))), Stage::Rolling("3 of 4 updated pods are available".into()));
    }

    #[test]
    fn a_cafe_deployment_waits_group_by_group() {
        let at = |status: Value| {
            stage(
                json!({"kind": "CafeDeployment", "metadata": {"generation": 1}, "spec": {"replicas": 4}, "status": status}),
            )
        };
        let groups = json!([{"name": "beta", "phase": "Done", "cells": [{"name": "a", "pods": 1}]},
            {"name": "group-1", "phase": "Running", "updated": 2, "ready": 1, "cells": [{"name": "a", "pods": 3}]}]);
        let with = |phase: &str| json!({"observedGeneration": 1, "phase": phase, "updatedAvailableReplicas": 4, "groups": groups});
        assert_eq!(at(with("RollingOut")), Stage::Rolling("group-1: 1 of 3 pods are through".into()));
        assert_eq!(at(with("Paused")), Stage::Paused);
        assert_eq!(at(with("Stable")), Stage::Done);
        assert_eq!(
            at(with("WaitingForConfirmation")),
            Stage::Rolling("group beta is done and waits for confirmation".into())
        );
        let mut held = with("Held");
        held["waitsFor"] = json!({"reason": "PodsFailing", "message": "a-1 keeps failing"});
        assert_eq!(at(held), Stage::Failed("a-1 keeps failing".into()));
        assert_eq!(at(json!({"observedGeneration": 0})), Stage::Unseen);
    }

    #[test]
    fn a_pause_is_named_in_both_versions() {
        for strategy in [json!({"rollingUpdate": {"paused": true}}), json!({"paused": true})] {
            let mut set =
                cloneset(json!({"observedGeneration": 2, "replicas": 10, "expectedUpdatedReplicas": 10}));
            set["spec"]["updateStrategy"] = strategy;
            assert_eq!(stage(set), Stage::Paused);
        }
    }

    #[test]
    fn a_deployment_goes_through_the_steps_of_rollout_status() {
        let at = |status: Value| {
            let mut object = json!({"kind": "Deployment", "metadata": {"generation": 2}, "spec": {"replicas": 3}, "status": status});
            object["status"]["observedGeneration"] = json!(2);
            stage(object)
        };
        let text = |s: &str| Stage::Rolling(s.to_owned());
        assert_eq!(at(json!({"replicas": 3, "updatedReplicas": 1})), text("1 of 3 new pods have been made"));
        assert_eq!(at(json!({"replicas": 4, "updatedReplicas": 3})), text("1 old pods are still to go"));
        let almost = json!({"replicas": 3, "updatedReplicas": 3, "availableReplicas": 2});
        assert_eq!(at(almost), text("2 of 3 new pods are available"));
        assert_eq!(at(json!({"replicas": 3, "updatedReplicas": 3, "availableReplicas": 3})), Stage::Done);
        let late = json!({"conditions": [{"reason": "ProgressDeadlineExceeded", "message": "too late"}]});
        assert_eq!(at(late), Stage::Failed("too late".into()));
    }
}
