//! Which definition of a group has which names.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use stdx::Time;

use super::{text, texts};

/// Names that other definitions of the group have.
#[derive(Default)]
struct Taken {
    resources: BTreeSet<String>,
    kinds: BTreeSet<String>,
}

impl Taken {
    fn of<'a>(others: impl Iterator<Item = &'a Value>) -> Taken {
        let mut taken = Taken::default();
        for accepted in others {
            let one = |key: &str| Some(text(accepted, key).to_owned()).filter(|t| !t.is_empty());
            taken.resources.extend([one("/plural"), one("/singular")].into_iter().flatten());
            taken.resources.extend(texts(&accepted["shortNames"]));
            taken.kinds.extend([one("/kind"), one("/listKind")].into_iter().flatten());
        }
        taken
    }
}

/// The status of a definition as it should be; `others` are the accepted names of the other definitions of its group. What
/// is accepted stays accepted.
pub(super) fn status<'a>(definition: &Value, others: impl Iterator<Item = &'a Value>, now: Time) -> Value {
    let taken = Taken::of(others);
    let (accepted, conflict) = accept(definition, &taken);
    let mut status = definition["status"].clone();
    if !status.is_object() {
        status = json!({});
    }
    status["acceptedNames"] = accepted;
    if !status["conditions"].is_array() {
        status["conditions"] = json!([]);
    }
    let free = conflict.is_none();
    let (reason, message) = conflict.unwrap_or(("NoConflicts", "no conflicts found".to_owned()));
    set(&mut status, now, Condition { kind: "NamesAccepted", is_true: free, reason, message: &message });
    let was_established = definition["status"]["conditions"]
        .as_array()
        .is_some_and(|all| all.iter().any(|c| c["type"] == "Established" && c["status"] == "True"));
    let (is_true, reason, message) = match (was_established, free) {
        (true, _) | (false, true) => (true, "InitialNamesAccepted", "the initial names have been accepted"),
        (false, false) => (false, "NotAccepted", "not all names are accepted"),
    };
    set(&mut status, now, Condition { kind: "Established", is_true, reason, message });
    structure(definition, &mut status, now);
    approval(definition, &mut status, now);
    status
}

/// Names the definition gets, and the last conflict.
fn accept(definition: &Value, taken: &Taken) -> (Value, Option<(&'static str, String)>) {
    let wanted = &definition["spec"]["names"];
    let mut accepted = definition["status"]["acceptedNames"].clone();
    if !accepted.is_object() {
        accepted = json!({"plural": "", "kind": ""});
    }
    let mut conflict = None;
    let in_use = |name: &str| format!("{name:?} is already in use");
    let rules = [
        ("plural", &taken.resources, "PluralConflict"),
        ("singular", &taken.resources, "SingularConflict"),
        ("kind", &taken.kinds, "KindConflict"),
        ("listKind", &taken.kinds, "ListKindConflict"),
    ];
    for (i, (key, others, reason)) in rules.into_iter().enumerate() {
        let name = wanted[key].as_str().unwrap_or_default();
        if name.is_empty() || accepted[key] == wanted[key] || !others.contains(name) {
            copy(&mut accepted, wanted, key);
        } else {
            conflict = Some((reason, in_use(name)));
        }
        if i == 1 {
            let has = texts(&accepted["shortNames"]);
            let clash: Vec<String> = texts(&wanted["shortNames"])
                .into_iter()
                .filter(|n| !has.contains(n) && taken.resources.contains(n))
                .collect();
            if clash.is_empty() {
                copy(&mut accepted, wanted, "shortNames");
            } else {
                let all: Vec<String> = clash.iter().map(|n| in_use(n)).collect();
                conflict = Some(("ShortNamesConflict", all.join(", ")));
            }
        }
    }
    copy(&mut accepted, wanted, "categories");
    (accepted, conflict)
}

fn copy(to: &mut Value, from: &Value, key: &str) {
    match from.get(key).filter(|v| !v.is_null()) {
        Some(value) => to[key] = value.clone(),
        None => {
            to.as_object_mut().map(|map| map.remove(key));
        }
    }
}

/// Schemas that may be stored but do not say clearly what to prune are named.
fn structure(definition: &Value, status: &mut Value, now: Time) {
    let found: Vec<String> = super::versions(definition)
        .enumerate()
        .flat_map(|(i, v)| {
            let path = format!("spec.versions[{i}].schema.openAPIV3Schema");
            api_schema::crd::non_structural(&v["schema"]["openAPIV3Schema"], &path)
        })
        .map(|c| format!("{}: {}", c.field, c.message))
        .collect();
    if found.is_empty() {
        unset(status, "NonStructuralSchema");
    } else {
        let message = found.join(", ");
        set(
            status,
            now,
            Condition { kind: "NonStructuralSchema", is_true: true, reason: "Violations", message: &message },
        );
    }
}

/// Groups of the community carry a link to their approval.
fn approval(definition: &Value, status: &mut Value, now: Time) {
    const KIND: &str = "KubernetesAPIApprovalPolicyConformant";
    if !is_protected(text(definition, "/spec/group")) {
        unset(status, KIND);
        return;
    }
    let approved =
        definition["metadata"]["annotations"]["api-approved.kubernetes.io"].as_str().unwrap_or_default();
    let (is_true, reason, message) = match approved {
        "" => {
            let why = "protected groups must have approval annotation \"api-approved.kubernetes.io\", see \
                       https://github.com/kubernetes/enhancements/pull/1111";
            (false, "MissingAnnotation", why.to_owned())
        }
        a if a.starts_with("unapproved") => (false, "UnapprovedAnnotation", format!("not approved: {a:?}")),
        a => (true, "ApprovedAnnotation", format!("approved in {a}")),
    };
    set(status, now, Condition { kind: KIND, is_true, reason, message: &message });
}

/// Whether a group belongs to the Kubernetes community.
pub(super) fn is_protected(group: &str) -> bool {
    ["k8s.io", "kubernetes.io"].iter().any(|g| group == *g || group.ends_with(&format!(".{g}")))
}

pub(super) struct Condition<'a> {
    pub(super) kind: &'a str,
    pub(super) is_true: bool,
    pub(super) reason: &'a str,
    pub(super) message: &'a str,
}

/// Sets a condition; its time moves only with its status.
pub(super) fn set(status: &mut Value, now: Time, condition: Condition<'_>) {
    let word = if condition.is_true { "True" } else { "False" };
    if !status["conditions"].is_array() {
        status["conditions"] = json!([]);
    }
    let Some(all) = status["conditions"].as_array_mut() else { return };
    let there = all.iter_mut().find(|c| c["type"] == condition.kind);
    let since = there.as_ref().filter(|c| c["status"] == word).map(|c| c["lastTransitionTime"].clone());
    let next = json!({
        "type": condition.kind, "status": word, "lastTransitionTime": since.unwrap_or_else(|| json!(now)),
        "reason": condition.reason, "message": condition.message,
    });
    match there {
        Some(there) => *there = next,
        None => all.push(next),
    }
}

fn unset(status: &mut Value, kind: &str) {
    if let Some(all) = status["conditions"].as_array_mut() {
        all.retain(|c| c["type"] != kind);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(plural: &str, kind: &str, status: Value) -> Value {
        json!({
            "metadata": {"name": format!("{plural}.a.com")}, "status": status,
            "spec": {"group": "a.com", "versions": [], "names": {
                "plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List")
            }}
        })
    }

    fn said(status: &Value) -> Vec<String> {
        let all = status["conditions"].as_array().unwrap();
        all.iter()
            .map(|c| {
                format!(
                    "{}={} {}: {}",
                    text(c, "/type"),
                    text(c, "/status"),
                    text(c, "/reason"),
                    text(c, "/message")
                )
            })
            .collect()
    }

    #[test]
    fn free_names_are_accepted_at_once() {
        let status =
            status(&definition("widgets", "Widget", Value::Null), std::iter::empty(), Time::from_secs(1));
        assert_eq!(
            said(&status),
            [
                "NamesAccepted=True NoConflicts: no conflicts found",
                "Established=True InitialNamesAccepted: the initial names have been accepted",
            ]
        );
        assert_eq!(status["acceptedNames"]["listKind"], "WidgetList");
    }

    #[test]
    fn a_taken_name_is_told_in_conditions() {
        let mut first = definition("widgets", "Widget", Value::Null);
        first["status"] = status(&first, std::iter::empty(), Time::from_secs(1));
        let second = definition("gadgets", "Widget", json!({"acceptedNames": {"plural": "", "kind": ""}}));
        let told = status(&second, [&first["status"]["acceptedNames"]].into_iter(), Time::from_secs(2));
        assert_eq!(
            said(&told),
            [
                "NamesAccepted=False ListKindConflict: \"WidgetList\" is already in use",
                "Established=False NotAccepted: not all names are accepted",
            ]
        );
        assert_eq!(told["acceptedNames"], json!({"plural": "gadgets", "kind": ""}));
        let again = status(&first, [&second["status"]["acceptedNames"]].into_iter(), Time::from_secs(9));
        assert_eq!(again, first["status"], "what is accepted stays, with its times");
    }
}
