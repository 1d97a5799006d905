//! Configurations of webhooks, and which hook a request meets (apiserver `admission/plugin/webhook`).

use api_meta::{LabelSelector, Labels, Selector};
use serde::Deserialize;
use serde_json::Value;

use crate::attributes::{Attributes, Kind, Place};
use crate::pod::{list, text};

/// Seconds that a call may take where a hook says nothing.
const TIMEOUT_SECS: u64 = 10;

/// A webhook of a configuration.
#[derive(Clone, Debug)]
pub struct Hook {
    /// Name of the configuration.
    pub configuration: String,
    /// Name of the hook: `x.example.com`.
    pub name: String,
    /// What it wants to see.
    pub rules: Vec<Rule>,
    /// It also wants to see what it knows under another version of the same objects.
    pub takes_equivalents: bool,
    /// Which namespaces it is about.
    pub namespaces: Selector,
    /// Which objects it is about.
    pub objects: Selector,
    /// Expressions that must all be true.
    pub conditions: Vec<Condition>,
    /// What becomes of requests when it cannot be called.
    pub failure: Failure,
    /// Seconds that a call may take, 1 to 30.
    pub timeout_secs: u64,
    /// It may be called for dry runs.
    pub takes_dry_runs: bool,
    /// Version of the review that it wants, of those known here.
    pub review: Option<Review>,
    /// It is asked again when a later hook changed the object.
    pub is_reinvoked: bool,
    /// `clientConfig`: how to reach it.
    pub client: Value,
}

/// An expression that a request must satisfy before a hook is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Its name.
    pub name: String,
    /// CEL.
    pub expression: String,
}

/// What becomes of requests when a hook cannot be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// They are refused.
    Fail,
    /// They go on.
    Ignore,
}

/// A version of AdmissionReview.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Review {
    /// `admission.k8s.io/v1`.
    V1,
    /// `admission.k8s.io/v1beta1`.
    V1Beta1,
}

impl Review {
    /// `apiVersion` of the review.
    pub fn api_version(self) -> &'static str {
        match self {
            Review::V1 => "admission.k8s.io/v1",
            Review::V1Beta1 => "admission.k8s.io/v1beta1",
        }
    }
}

/// Which requests a hook, or a policy, wants to see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    resources: Vec<String>,
    /// `Cluster`, `Namespaced`, or all.
    scope: String,
    /// Names; all when empty. Policies alone have them.
    names: Vec<String>,
}

fn texts(tree: &Value, key: &str) -> Vec<String> {
    list(tree, key).filter_map(Value::as_str).map(str::to_owned).collect()
}

/// A selector; one that cannot be read, which validation refuses, selects everything: it rather asks too often.
fn selector(tree: &Value) -> Selector {
    let read = LabelSelector::deserialize(tree).unwrap_or_default();
    read.selector().unwrap_or_default()
}

/// The hooks of a configuration, in its order.
pub fn read(configuration: &Value) -> Vec<Hook> {
    let name = text(&configuration["metadata"], "name");
    list(configuration, "webhooks").map(|hook| read_one(name, hook)).collect()
}

fn read_one(configuration: &str, hook: &Value) -> Hook {
    let condition = |c: &Value| Condition {
        name: text(c, "name").to_owned(),
        expression: text(c, "expression").to_owned(),
    };
    let known = |version: &Value| match version.as_str() {
        Some("v1") => Some(Review::V1),
        Some("v1beta1") => Some(Review::V1Beta1),
        _ => None,
    };
    Hook {
        configuration: configuration.to_owned(),
        name: text(hook, "name").to_owned(),
        rules: list(hook, "rules").map(Rule::read).collect(),
        takes_equivalents: text(hook, "matchPolicy") != "Exact",
        namespaces: selector(&hook["namespaceSelector"]),
        objects: selector(&hook["objectSelector"]),
        conditions: list(hook, "matchConditions").map(condition).collect(),
        failure: if text(hook, "failurePolicy") == "Ignore" { Failure::Ignore } else { Failure::Fail },
        timeout_secs: hook["timeoutSeconds"].as_u64().unwrap_or(TIMEOUT_SECS).clamp(1, 30),
        takes_dry_runs: matches!(text(hook, "sideEffects"), "None" | "NoneOnDryRun"),
        review: list(hook, "admissionReviewVersions").find_map(known),
        is_reinvoked: text(hook, "reinvocationPolicy") == "IfNeeded",
        client: hook["clientConfig"].clone(),
    }
}

impl Rule {
    /// A rule in the form of `rules` of a hook, or `resourceRules` of a policy.
    pub fn read(rule: &Value) -> Rule {
        Rule {
            operations: texts(rule, "operations"),
            groups: texts(rule, "apiGroups"),
            versions: texts(rule, "apiVersions"),
            resources: texts(rule, "resources"),
            scope: text(rule, "scope").to_owned(),
            names: texts(rule, "resourceNames"),
        }
    }

    /// Whether a request is meant, as if it named this collection.
    pub fn matches(&self, request: &Attributes<'_>, place: &Place) -> bool {
        let has = |all: &[String], one: &str| all.iter().any(|a| a == "*" || a == one);
        self.is_in_scope(request, place)
            && has(&self.operations, request.operation.as_str())
            && has(&self.groups, &place.group)
            && has(&self.versions, &place.version)
            && self.resources.iter().any(|r| is_resource(r, &place.resource, request.subresource))
            && (self.names.is_empty() || self.names.iter().any(|n| n == request.name))
    }

    /// Namespaces themselves are cluster-wide, though requests on them carry their name as namespace.
    fn is_in_scope(&self, request: &Attributes<'_>, place: &Place) -> bool {
        let is_namespace = place.group.is_empty() && place.resource == "namespaces";
        let is_namespaced = !request.namespace.is_empty() && !is_namespace;
        match self.scope.as_str() {
            "Namespaced" => is_namespaced,
            "Cluster" => !is_namespaced,
            _ => true,
        }
    }
}

/// `pods` is not `pods/status`; `pods/*` is both; `*` is everything without subresource.
fn is_resource(rule: &str, resource: &str, subresource: &str) -> bool {
    let (of, sub) = rule.split_once('/').unwrap_or((rule, ""));
    (of == "*" || of == resource) && (sub == "*" || sub == subresource)
}

/// In which version a hook wants to see the objects of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// The collection it knows.
    pub place: Place,
    /// The kind it knows.
    pub kind: Kind,
}

/// A collection that holds the same objects in another version, with the kind a request's object has there.
pub type Equivalent = (Place, Kind);

impl Hook {
    /// Whether the rules want to see a request, and in which version: the request's own, or else the first equivalent one.
    pub fn invocation(&self, request: &Attributes<'_>, equivalents: &[Equivalent]) -> Option<Invocation> {
        if self.rules.iter().any(|r| r.matches(request, &request.place)) {
            return Some(Invocation { place: request.place.clone(), kind: request.kind.clone() });
        }
        if !self.takes_equivalents {
            return None;
        }
        let mut pairs = self.rules.iter().flat_map(|r| equivalents.iter().map(move |e| (r, e)));
        let found = pairs.find(|(rule, (place, _))| *place != request.place && rule.matches(request, place));
        found.map(|(_, (place, kind))| Invocation { place: place.clone(), kind: kind.clone() })
    }

    /// Whether it is about the object, as it will be or as it was.
    pub fn selects(&self, new: Option<&Value>, old: Option<&Value>) -> bool {
        self.objects.is_empty()
            || [new, old].into_iter().flatten().any(|o| self.objects.matches(&LabelsOf(o)))
    }

    /// Whether it is about namespaces with the labels of this one.
    pub fn selects_namespace(&self, namespace: &Value) -> bool {
        self.namespaces.matches(&LabelsOf(namespace))
    }
}

/// The labels of an object.
struct LabelsOf<'a>(&'a Value);

impl Labels for LabelsOf<'_> {
    fn label(&self, key: &str) -> Option<&str> {
        self.0["metadata"]["labels"].get(key)?.as_str()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Operation;

    fn place(group: &str, version: &str, resource: &str) -> Place {
        Place { group: group.to_owned(), version: version.to_owned(), resource: resource.to_owned() }
    }

    fn request(
        operation: Operation,
        place: Place,
        subresource: &'static str,
        namespace: &'static str,
    ) -> Attributes<'static> {
        let kind = Kind { group: place.group.clone(), version: place.version.clone(), kind: "K".to_owned() };
        Attributes {
            operation,
            place,
            subresource,
            kind,
            namespace,
            name: "x",
            dry_run: false,
            user: &Value::Null,
            options: &Value::Null,
        }
    }

    fn hook(rule: Value, more: Value) -> Hook {
        let mut hook = json!({"name": "a.example.com", "rules": [rule]});
        hook.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut all = read(&json!({"metadata": {"name": "c"}, "webhooks": [hook]}));
        all.remove(0)
    }

    fn rule(resources: &[&str]) -> Value {
        json!({"operations": ["CREATE"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": resources})
    }

    #[test]
    fn subresources_are_named_on_their_own() {
        let meets = |resources: &[&str], sub: &'static str| {
            let request = request(Operation::Create, place("apps", "v1", "deployments"), sub, "ns");
            hook(rule(resources), json!({})).invocation(&request, &[]).is_some()
        };
        for (resources, plain, scale) in [
            (["deployments"], true, false),
            (["deployments/scale"], false, true),
            (["deployments/*"], true, true),
            (["*"], true, false),
            (["*/*"], true, true),
            (["*/scale"], false, true),
            (["replicasets"], false, false),
        ] {
            assert_eq!((meets(&resources, ""), meets(&resources, "scale")), (plain, scale), "{resources:?}");
        }
    }

    #[test]
    fn a_namespace_itself_is_cluster_wide() {
        let meets = |scope: &str, resource: &str, namespace: &'static str| {
            let mut all =
                json!({"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]});
            all["scope"] = json!(scope);
            let request = request(Operation::Delete, place("", "v1", resource), "", namespace);
            hook(all, json!({})).invocation(&request, &[]).is_some()
        };
        assert!(meets("Cluster", "namespaces", "ns") && !meets("Namespaced", "namespaces", "ns"));
        assert!(!meets("Cluster", "pods", "ns") && meets("Namespaced", "pods", "ns"));
        assert!(meets("*", "pods", "ns") && meets("Cluster", "nodes", ""));
    }

    #[test]
    fn another_version_of_the_same_objects_is_met_unless_the_hook_wants_it_exactly() {
        let request = request(Operation::Create, place("apps", "v1beta1", "deployments"), "", "ns");
        let kind = Kind { group: "apps".to_owned(), version: "v1".to_owned(), kind: "Deployment".to_owned() };
        let others = [(place("apps", "v1", "deployments"), kind.clone())];
        let met =
            hook(rule(&["deployments"]), json!({"matchPolicy": "Equivalent"})).invocation(&request, &others);
        assert_eq!(met, Some(Invocation { place: others[0].0.clone(), kind }));
        let exact = hook(rule(&["deployments"]), json!({"matchPolicy": "Exact"}));
        assert_eq!(exact.invocation(&request, &others), None);
    }

    #[test]
    fn selectors_see_both_objects() {
        let hook = hook(rule(&["*"]), json!({"objectSelector": {"matchLabels": {"a": "b"}}}));
        let (with, without) = (json!({"metadata": {"labels": {"a": "b"}}}), json!({}));
        assert!(hook.selects(Some(&without), Some(&with)) && hook.selects(Some(&with), None));
        assert!(!hook.selects(Some(&without), None) && !hook.selects(None, None));
        assert!(hook.selects_namespace(&without));
    }

    #[test]
    fn what_is_not_said_has_upstreams_defaults() {
        let hook = hook(rule(&["*"]), json!({"admissionReviewVersions": ["v9", "v1beta1", "v1"]}));
        assert_eq!(
            (hook.timeout_secs, hook.failure, hook.review),
            (10, Failure::Fail, Some(Review::V1Beta1))
        );
        assert!(hook.takes_equivalents && !hook.is_reinvoked && !hook.takes_dry_runs);
    }
}
