//! The ReplicaSets of a Deployment, sorted out, with the sizes that the plan in the making gives them.

use std::collections::BTreeMap;
use std::sync::Arc;

use api_core::{Deployment, Pod, ReplicaSet};
use api_meta::{Condition, IntOrPercent, Object};
use reconcile::{Action, Budget, Form, Note, Plan, Risk, Severity, Target};
use serde_json::{Value, json};
use stdx::Time;

use crate::deployment::Observed;
use crate::deployment::annotations::{self, DESIRED, MAX};
use crate::kit;

pub(crate) const HASH_LABEL: &str = "pod-template-hash";

/// A ReplicaSet within a plan.
#[derive(Clone)]
pub(crate) struct Member {
    pub set: Arc<ReplicaSet>,
    /// Size it is to have.
    pub size: i32,
    /// Active pods seen.
    active: i32,
    /// Available pods seen.
    standing: i32,
}

impl Member {
    fn new(set: &Arc<ReplicaSet>, pods: &[Arc<Pod>], now: Time) -> Member {
        let ready_for = set.spec.min_ready_seconds;
        let active = || pods.iter().filter(|pod| pod.is_active());
        Member {
            set: set.clone(),
            size: set.spec.replicas.unwrap_or(1),
            active: kit::count(active()),
            standing: kit::count(active().filter(|pod| pod.is_available(ready_for, now))),
        }
    }

    /// Pods that surely serve: neither a report nor a look alone is trusted, for each may lag behind the other.
    pub(crate) fn standing(&self) -> i32 {
        self.available().min(self.standing)
    }

    /// Whether the set reports something else than what is seen: one of the two is late.
    fn is_torn(&self) -> bool {
        self.active != self.set.status.replicas || self.standing != self.available()
    }

    /// Pods that there are or will be, for the same reason by the greatest of what is known.
    fn occupied(&self) -> i32 {
        self.size.max(self.set.status.replicas).max(self.active)
    }

    pub(crate) fn available(&self) -> i32 {
        self.set.status.available_replicas
    }

    /// Older first; the name decides between equals.
    pub(crate) fn age_order(&self) -> (Option<Time>, String) {
        (self.set.metadata.creation_timestamp, self.set.metadata.name.clone())
    }

    /// The size it has now.
    pub(crate) fn size_now(&self) -> i32 {
        self.set.spec.replicas.unwrap_or(1)
    }
}

/// All ReplicaSets of a Deployment.
pub(crate) struct Sets<'a> {
    pub deployment: &'a Deployment,
    pub wanted: i32,
    pub budget: Budget,
    /// The one of the present template.
    pub newest: Option<Member>,
    /// The others, oldest first.
    pub old: Vec<Member>,
}

impl<'a> Sets<'a> {
    pub(crate) fn of(seen: &'a Observed, now: Time) -> Sets<'a> {
        let deployment = &*seen.deployment;
        let sets = seen.claims.kept.iter().chain(&seen.claims.adopted);
        let pods = |set: &ReplicaSet| seen.pods.get(&set.metadata.uid).map_or(&[][..], Vec::as_slice);
        let mut members: Vec<Member> = sets.map(|set| Member::new(set, pods(set), now)).collect();
        members.sort_by_cached_key(Member::age_order);
        let at = members.iter().position(|m| is_of_template(&m.set, &deployment.spec.template));
        let newest = at.map(|i| members.remove(i));
        let wanted = deployment.spec.replicas.unwrap_or(1);
        Sets { deployment, wanted, budget: budget(deployment, wanted), newest, old: members }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Member> {
        self.newest.iter().chain(&self.old)
    }

    /// Whether a set reports something else than what is seen.
    pub(crate) fn are_torn(&self) -> bool {
        self.all().any(Member::is_torn)
    }

    pub(crate) fn total(&self) -> i32 {
        self.all().map(|m| m.size).sum()
    }

    pub(crate) fn available(&self) -> i32 {
        self.all().map(Member::available).sum()
    }

    /// The revision after all old ones.
    pub(crate) fn next_revision(&self) -> i64 {
        self.old.iter().map(|m| annotations::revision(&m.set)).max().unwrap_or(0) + 1
    }

    /// The size the newest set may have now, without more than the surge in total. A set that was made smaller counts with
    /// its pods until they are deleted; upstream counts sizes alone, and exceeds the surge while its ReplicaSet controller lags.
    pub(crate) fn newest_size(&self) -> i32 {
        let now = self.newest.as_ref().map_or(0, |m| m.size);
        if self.deployment.spec.strategy.r#type == "Recreate" {
            return self.wanted;
        }
        let room = self.budget.total_max(self.wanted) - self.all().map(Member::occupied).sum::<i32>();
        if room <= 0 { now } else { now + room.min(self.wanted - now) }
    }

    /// The patches that give every set the size the plan wants, and the words about them.
    pub(crate) fn scale(&self, plan: &mut Plan) {
        for member in self.all().filter(|m| m.size != m.size_now()) {
            let (name, from, to) = (&member.set.metadata.name, member.size_now(), member.size);
            let direction = if to > from { "up" } else { "down" };
            let message = format!("Scaled {direction} replica set {name} from {from} to {to}");
            let action = resize(member, self.sizes());
            plan.act_noting(action, Note::new(Severity::Normal, "ScalingReplicaSet", message));
        }
    }

    /// Sets that keep their size remember the wanted total all the same; else its change would look new for ever.
    pub(crate) fn remember_sizes(&self, plan: &mut Plan) {
        let is_known = |m: &Member| {
            self.sizes().iter().all(|(name, value)| m.set.metadata.annotations.get(*name) == Some(value))
        };
        for member in self.all().filter(|m| m.size > 0 && m.size == m.size_now() && !is_known(m)) {
            plan.act(resize(member, self.sizes()));
        }
    }

    /// The annotations that remember by which size a set was scaled.
    pub(crate) fn sizes(&self) -> [(&'static str, String); 2] {
        let max = self.budget.total_max(self.wanted);
        [(DESIRED, self.wanted.to_string()), (MAX, max.to_string())]
    }
}

/// Fenced by version: sizes are computed from what the sets report, so a newer report asks for another look.
fn resize(member: &Member, sizes: [(&'static str, String); 2]) -> Action {
    let annotations: BTreeMap<_, _> = sizes.into_iter().collect();
    Action::Patch {
        target: Target::at(&*member.set),
        subresource: "",
        form: Form::Merge,
        body: json!({"metadata": {"annotations": annotations}, "spec": {"replicas": member.size}}),
        risk: Risk::None,
    }
}

/// How far a roll-out may go; a Deployment that recreates has no budget at all.
pub(crate) fn budget(deployment: &Deployment, wanted: i32) -> Budget {
    let strategy = &deployment.spec.strategy;
    if strategy.r#type == "Recreate" {
        return Budget { surge: 0, unavailable: 0 };
    }
    let rolling = strategy.rolling_update.clone().unwrap_or_default();
    let quarter = IntOrPercent::Percent(25);
    Budget::rolling(wanted, rolling.max_surge.unwrap_or(quarter), rolling.max_unavailable.unwrap_or(quarter))
}

/// Whether a set was made of this template: equal but for the hash.
fn is_of_template(set: &ReplicaSet, template: &Value) -> bool {
    let mut own = set.spec.template.clone();
    if let Some(labels) = own.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(HASH_LABEL);
    }
    without_nulls(&own) == without_nulls(template)
}

/// Clients write absent fields as null or leave them out; labels may be an empty map or absent.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().map(|(name, v)| (name.clone(), without_nulls(v)));
            let is_empty = |name: &str, v: &Value| {
                v.is_null() || (name == "labels" && v.as_object().is_some_and(serde_json::Map::is_empty))
            };
            Value::Object(kept.filter(|(name, v)| !is_empty(name, v)).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}

/// The name of the ReplicaSet of the present template.
pub(crate) fn next_name(deployment: &Deployment) -> String {
    format!("{}-{}", deployment.metadata.name, hash(deployment))
}

fn hash(deployment: &Deployment) -> String {
    kit::template_hash(&deployment.spec.template, deployment.status.collision_count)
}

/// The ReplicaSet of the present template, of a size.
pub(crate) fn new_set(sets: &Sets<'_>, size: i32) -> Action {
    let deployment = sets.deployment;
    let hash = hash(deployment);
    let mut template = deployment.spec.template.clone();
    template["metadata"]["labels"][HASH_LABEL] = json!(hash);
    let mut selector = json!(deployment.spec.selector);
    selector["matchLabels"][HASH_LABEL] = json!(hash);
    let mut annotations = annotations::of_newest(deployment, &BTreeMap::new(), sets.next_revision());
    annotations.extend(sets.sizes().map(|(name, value)| (name.to_owned(), value)));
    let mut spec = json!({"replicas": size, "selector": selector, "template": template});
    if deployment.spec.min_ready_seconds != 0 {
        spec["minReadySeconds"] = json!(deployment.spec.min_ready_seconds);
    }
    let body = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {
            "name": next_name(deployment), "namespace": deployment.metadata.namespace,
            "labels": template["metadata"]["labels"], "annotations": annotations,
            "ownerReferences": [kit::owner_reference(deployment)],
        },
        "spec": spec,
    });
    Action::Create { resource: ReplicaSet::RESOURCE, body }
}

/// A condition of a ReplicaSet that a Deployment hands on: the newest set's failure, else any.
pub(crate) fn replica_failure(sets: &Sets<'_>) -> Option<Condition> {
    let of = |m: &Member| m.set.status.conditions.iter().find(|c| c.r#type == "ReplicaFailure").cloned();
    sets.all().find_map(of)
}
