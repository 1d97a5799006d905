//! Deletion protection where the API server is not ours: admission policies, and the label they cannot do without.
//!
//! ```text
//! policy.kruise.io/delete-protection=Always ─────────────────────────────> the policy sees it by itself
//!                    …=Cascading on a workload ──> spec.replicas ────────> the policy sees it by itself
//!                    …=Cascading on a namespace, definitions of our kinds ─> a controller looks, and keeps
//!                                                     knarr.dev/delete-protected on what is in use ─> the policy
//! ```
//!
//! A policy is evaluated by the API server itself: nothing of ours can block a cluster by being away. What is absent:
//! definitions of kinds that are not ours; of those a policy sees the label Always alone.

use std::sync::Arc;

use api_core::{Namespace, PersistentVolumeClaim, Pod};
use api_meta::{Object, ObjectKey, ObjectMeta, Resource};
use api_workload::{CafeDeployment, CloneSet, InPlaceSet};
use reconcile::{Action, Form, Permission, Plan, Risk, Row, Target, Thinker, Watch, World};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use stdx::Time;

/// OpenKruise's label.
const PROTECTION: &str = "policy.kruise.io/delete-protection";
/// The label of what is protected and in use now.
const PROTECTED: &str = "knarr.dev/delete-protected";

/// The controllers that keep the label; for hosts on clusters whose API server is not ours.
pub fn fleet_rows() -> Vec<Row> {
    vec![Row::of::<Namespaces>(), Row::of::<Definitions>()]
}

/// The policy that refuses deletions, and what puts it in force.
pub fn policies() -> Vec<Value> {
    let rule = |groups: &[&str], resources: &[&str]| json!({"apiGroups": groups, "apiVersions": ["*"], "operations": ["DELETE"], "resources": resources});
    let label = |key: &str| format!("variables.labels[?'{key}'].orValue('')");
    let going = "variables.isGoing";
    let always = format!("{going} || {} != 'Always'", label(PROTECTION));
    let replicas = format!(
        "{going} || {} != 'Cascading' || !has(oldObject.spec) || !has(oldObject.spec.replicas) || oldObject.spec.replicas == 0",
        label(PROTECTION)
    );
    let in_use = format!("{going} || {} != 'true'", label(PROTECTED));
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "knarr-delete-protection"},
        "spec": {
            // A policy that cannot be evaluated must not keep people from their cluster.
            "failurePolicy": "Ignore",
            "matchConstraints": {"resourceRules": [
                rule(&[""], &["namespaces", "services"]),
                rule(&["apiextensions.k8s.io"], &["customresourcedefinitions"]),
                rule(&["apps"], &["deployments", "statefulsets", "replicasets"]),
                rule(&["networking.k8s.io"], &["ingresses"]),
                rule(&["apps.kruise.io"], &["clonesets"]),
                rule(&["apps.cafe.cloud.alipay.com"], &["inplacesets", "cafedeployments"]),
            ]},
            "variables": [
                {"name": "labels", "expression": "has(oldObject.metadata.labels) ? oldObject.metadata.labels : {}"},
                // What goes with its namespace was decided there.
                {"name": "isGoing", "expression": "has(oldObject.metadata.deletionTimestamp) || \
                    (namespaceObject != null && has(namespaceObject.metadata.deletionTimestamp))"},
            ],
            "validations": [
                {"expression": always, "reason": "Forbidden",
                    "message": format!("it is labelled {PROTECTION}=Always: remove the label first")},
                {"expression": replicas, "reason": "Forbidden",
                    "message": format!("it wants replicas and is labelled {PROTECTION}=Cascading: scale it to 0, or remove the label, first")},
                {"expression": in_use, "reason": "Forbidden", "messageExpression": format!(
                    "'it is in use: ' + (has(oldObject.metadata.annotations) ? oldObject.metadata.annotations[?'{PROTECTED}'].orValue('see its label') \
                     : 'see its label') + '; remove that first'"),
                    "message": format!("it is in use, as its label {PROTECTED} says")},
            ],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "knarr-delete-protection"},
        "spec": {"policyName": "knarr-delete-protection", "validationActions": ["Deny"]},
    });
    vec![policy, binding]
}

/// Keeps the label on namespaces.
pub(crate) struct Namespaces;

/// Keeps the label on the definitions of our kinds.
pub(crate) struct Definitions;

/// An object, and what is in it.
pub(crate) struct Observed {
    target: Target,
    meta: ObjectMeta,
    /// Why it is in use; nothing when it is not, or not protected.
    use_: Option<String>,
}

/// A definition, as far as it concerns its protection.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Definition {
    /// Metadata.
    pub metadata: ObjectMeta,
}

impl Object for Definition {
    const RESOURCE: Resource = Resource::cluster(
        "apiextensions.k8s.io",
        "v1",
        "customresourcedefinitions",
        "CustomResourceDefinition",
    );

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn decode(json: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }
}

impl Thinker for Namespaces {
    type Primary = Namespace;
    type Observed = Observed;
    const NAME: &'static str = "namespace-protection";

    fn watches() -> Vec<Watch> {
        let of = |namespace: &str| vec![ObjectKey::new("", namespace)];
        vec![
            Watch::mapped::<Pod>(move |_, pod| of(&pod.metadata.namespace)),
            Watch::mapped::<PersistentVolumeClaim>(move |_, claim| of(&claim.metadata.namespace)),
        ]
    }

    fn permissions() -> Vec<Permission> {
        vec![Permission { group: "", resource: "namespaces", verbs: &["patch"] }]
    }

    fn observe(world: &World, key: &ObjectKey) -> Option<Observed> {
        let namespace = world.cache::<Namespace>().get(key)?;
        let is_cascading = namespace.metadata.labels.get(PROTECTION).is_some_and(|v| v == "Cascading");
        let tenants = || {
            let pods = world.cache::<Pod>().in_namespace(&key.name).filter(|p| p.is_active()).count();
            let claims = world.cache::<PersistentVolumeClaim>().in_namespace(&key.name);
            let claims = claims.filter(|c| c.status["phase"] == "Bound").count();
            in_use(&[(pods, "active pods"), (claims, "bound claims")])
        };
        let use_ = is_cascading.then(tenants).flatten();
        Some(Observed { target: Target::of(&**namespace), meta: namespace.metadata.clone(), use_ })
    }

    fn plan(seen: &Observed, _: Time) -> Plan {
        plan(seen)
    }
}

impl Thinker for Definitions {
    type Primary = Definition;
    type Observed = Observed;
    const NAME: &'static str = "definition-protection";

    fn watches() -> Vec<Watch> {
        vec![of_kind::<CloneSet>(), of_kind::<InPlaceSet>(), of_kind::<CafeDeployment>()]
    }

    fn permissions() -> Vec<Permission> {
        vec![Permission {
            group: "apiextensions.k8s.io",
            resource: "customresourcedefinitions",
            verbs: &["patch"],
        }]
    }

    fn observe(world: &World, key: &ObjectKey) -> Option<Observed> {
        let definition = world.cache::<Definition>().get(key)?;
        let is_labelled = definition.metadata.labels.get(PROTECTION).is_some_and(|v| v == "Cascading");
        // Unlabelled, what wants pods counts: the same reading as the embedded server's, one step short of the pods.
        let counts = |spec: &Value| is_labelled || spec["replicas"].as_i64().unwrap_or(1) > 0;
        let live = if *key == definition_of::<CloneSet>() {
            live(world, |s: &Arc<CloneSet>| counts(&s.spec))
        } else if *key == definition_of::<InPlaceSet>() {
            live(world, |s: &Arc<InPlaceSet>| counts(&s.spec))
        } else if *key == definition_of::<CafeDeployment>() {
            live(world, |s: &Arc<CafeDeployment>| counts(&s.spec))
        } else {
            0
        };
        let use_ = in_use(&[(live, "objects of it want pods")]);
        Some(Observed { target: Target::of(&**definition), meta: definition.metadata.clone(), use_ })
    }

    fn plan(seen: &Observed, _: Time) -> Plan {
        plan(seen)
    }
}

fn definition_of<T: Object>() -> ObjectKey {
    ObjectKey::new("", format!("{}.{}", T::RESOURCE.plural, T::RESOURCE.group))
}

fn of_kind<T: Object>() -> Watch {
    Watch::mapped::<T>(|_, _| vec![definition_of::<T>()])
}

fn live<T: Object>(world: &World, counts: impl Fn(&Arc<T>) -> bool) -> usize {
    world.cache::<T>().iter().filter(|o| !o.meta().is_terminating() && counts(o)).count()
}

/// Whether anything is there. Without numbers: a label that changed with every pod would cost a write for each.
fn in_use(counts: &[(usize, &str)]) -> Option<String> {
    let there: Vec<&str> = counts.iter().filter(|(n, _)| *n > 0).map(|(_, what)| *what).collect();
    (!there.is_empty()).then(|| there.join(", "))
}

/// Sets the label and says why in an annotation of the same name, or takes both away.
fn plan(seen: &Observed) -> Plan {
    let mut plan = Plan::new();
    let meta = &seen.meta;
    let label = seen.use_.as_ref().map(|_| "true");
    let is_as_wanted = meta.labels.get(PROTECTED).map(String::as_str) == label
        && meta.annotations.get(PROTECTED) == seen.use_.as_ref();
    if is_as_wanted || meta.is_terminating() {
        return plan;
    }
    let body = json!({"metadata": {"labels": {PROTECTED: label}, "annotations": {PROTECTED: seen.use_}}});
    let target = seen.target.clone();
    plan.act(Action::Patch { target, subresource: "", form: Form::Merge, body, risk: Risk::None });
    plan
}

#[cfg(test)]
mod tests {
    use reconcile::testing::Bench;

    use super::*;

    fn label(bench: &Bench, resource: &Resource, key: &ObjectKey) -> (Value, Value) {
        let meta = &bench.get(resource, key).unwrap()["metadata"];
        (meta["labels"][PROTECTED].clone(), meta["annotations"][PROTECTED].clone())
    }

    #[test]
    fn a_namespace_is_marked_while_it_is_protected_and_in_use() {
        let mut bench = Bench::new().with::<Namespaces>();
        let labels = json!({PROTECTION: "Cascading"});
        let key = bench.put(&Namespace::RESOURCE, json!({"metadata": {"name": "shop", "labels": labels}}));
        bench.settle::<Namespaces>(&key, 2);
        assert_eq!(label(&bench, &Namespace::RESOURCE, &key).0, Value::Null);
        let pod = bench.put(&Pod::RESOURCE, json!({"metadata": {"name": "a", "namespace": "shop"}}));
        bench.settle::<Namespaces>(&key, 2);
        assert_eq!(label(&bench, &Namespace::RESOURCE, &key), (json!("true"), json!("active pods")));
        assert!(bench.plan::<Namespaces>(&key).unwrap().is_quiet());
        bench.drop(&Pod::RESOURCE, &pod);
        bench.settle::<Namespaces>(&key, 2);
        assert_eq!(label(&bench, &Namespace::RESOURCE, &key), (Value::Null, Value::Null));
    }

    #[test]
    fn a_definition_of_ours_is_marked_while_its_objects_want_pods() {
        let mut bench = Bench::new().with::<Definitions>();
        let body = json!({"metadata": {"name": "clonesets.apps.kruise.io"}});
        let key = bench.put(&Definition::RESOURCE, body);
        let set = json!({"metadata": {"name": "a", "namespace": "shop"}, "spec": {"replicas": 0}});
        let set = bench.put(&CloneSet::RESOURCE, set);
        bench.settle::<Definitions>(&key, 2);
        assert_eq!(label(&bench, &Definition::RESOURCE, &key).0, Value::Null);
        bench.edit(&CloneSet::RESOURCE, &set, |s| s["spec"]["replicas"] = json!(2));
        bench.settle::<Definitions>(&key, 2);
        assert_eq!(label(&bench, &Definition::RESOURCE, &key).0, "true");
    }

    #[test]
    fn the_policy_looks_only_at_deletions_and_never_fails_shut() {
        let [policy, binding] = &policies()[..] else { panic!("one policy, one binding") };
        assert_eq!(policy["spec"]["failurePolicy"], "Ignore");
        let rules = policy["spec"]["matchConstraints"]["resourceRules"].as_array().unwrap();
        assert!(rules.iter().all(|r| r["operations"] == json!(["DELETE"])));
        assert_eq!(binding["spec"]["policyName"], policy["metadata"]["name"]);
    }
}
