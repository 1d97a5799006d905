//! ValidatingAdmissionPolicy: policies and their bindings, judged at every write.
//!
//! ```text
//! store ─▶ policies, bindings (compiled once per version) ─match─▶ params ─▶ expressions ─▶ decisions ─▶ Deny │ Warn │ Audit
//! ```
//!
//! Policies are read from the store at every write, so that one that was accepted is in force from then on. What is absent:
//! warnings about types in a policy's status.

mod compiled;
mod matching;
mod params;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use api_meta::{Cause, Reason};
use serde_json::{Value, json};
use store::{KeyRange, Stored};

use super::Subject;
use crate::refuse::{Outcome, Refusal, forbidden_because, internal};
use crate::server::{ApiServer, Call};
use crate::stored;
use crate::webhook::Review;

pub(crate) use compiled::findings;
use compiled::{Decision, Policy};
use matching::Criteria;

const POLICIES: &str = "validatingadmissionpolicies.admissionregistration.k8s.io";
const BINDINGS: &str = "validatingadmissionpolicybindings.admissionregistration.k8s.io";
/// Under this key the audit log has what was found and not refused.
const FAILURE_NOTE: &str = "validation.policy.admission.k8s.io/validation_failure";

/// Compiled policies and bindings, by name and version; bounded by what is stored.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    policies: BTreeMap<String, (u64, Arc<Policy>)>,
    bindings: BTreeMap<String, (u64, Arc<Binding>)>,
}

/// A binding: which policy, for which objects, with which parameters, and what follows.
#[derive(Debug)]
struct Binding {
    name: String,
    policy: String,
    criteria: Criteria,
    param_ref: Value,
    actions: Vec<String>,
}

impl Binding {
    fn of(object: &Value) -> Binding {
        let spec = &object["spec"];
        let actions = spec["validationActions"].as_array().into_iter().flatten();
        Binding {
            name: object["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
            policy: spec["policyName"].as_str().unwrap_or_default().to_owned(),
            criteria: Criteria::of(&spec["matchResources"]),
            param_ref: spec["paramRef"].clone(),
            actions: actions.filter_map(Value::as_str).map(str::to_owned).collect(),
        }
    }

    fn wants(&self, action: &str) -> bool {
        self.actions.iter().any(|a| a == action)
    }
}

/// What is read of one kind, and what was made of it before.
fn refreshed<T>(
    stored: &[Arc<Stored>],
    known: &mut BTreeMap<String, (u64, Arc<T>)>,
    make: fn(&Value) -> T,
) -> Outcome<Vec<Arc<T>>> {
    let mut out = Vec::with_capacity(stored.len());
    known.retain(|name, _| stored.iter().any(|s| *s.key.name == **name));
    for one in stored {
        let made = match known.get(&*one.key.name) {
            Some((revision, made)) if *revision == one.revision.0 => made.clone(),
            _ => {
                let made = Arc::new(make(&stored::decode(one)?));
                known.insert(one.key.name.to_string(), (one.revision.0, made.clone()));
                made
            }
        };
        out.push(made);
    }
    Ok(out)
}

/// A policy and its bindings.
type Bound = (Arc<Policy>, Vec<Arc<Binding>>);

impl Policies {
    /// Policies that are bound, each with its bindings, in order of their names.
    fn bound(&self, server: &ApiServer) -> Outcome<Vec<Bound>> {
        let (policies, bindings) = (list(server, POLICIES)?, list(server, BINDINGS)?);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let known = &mut *known;
        let policies = refreshed(&policies, &mut known.policies, Policy::of)?;
        let bindings = refreshed(&bindings, &mut known.bindings, Binding::of)?;
        let of = |policy: Arc<Policy>| {
            let own: Vec<_> = bindings.iter().filter(|b| b.policy == policy.name).cloned().collect();
            (!own.is_empty()).then_some((policy, own))
        };
        Ok(policies.into_iter().filter_map(of).collect())
    }
}

fn list(server: &ApiServer, resource: &str) -> Outcome<Vec<Arc<Stored>>> {
    let range = KeyRange { resource: resource.into(), namespace: None };
    Ok(server.store.list(&range, None, None, 0, None).map_err(internal)?.items)
}

/// Whether any binding is stored: without, a write needs no further look.
pub(crate) fn is_any(call: &Call) -> bool {
    call.server.store.count(&KeyRange { resource: BINDINGS.into(), namespace: None }) > 0
}

/// Refuses a write that a policy denies; warns and notes as the bindings want it.
pub(crate) async fn admit(review: &Review<'_>, new: Option<&Value>, old: Option<&Value>) -> Outcome<()> {
    let server = &review.call.server;
    let mut denied: Option<Denial> = None;
    for (policy, bindings) in server.policies.bound(server)? {
        let Some(invocation) = policy.criteria.meets(review, new, old).await? else { continue };
        let mut own = Vec::new();
        for binding in &bindings {
            if binding.criteria.meets(review, new, old).await?.is_some() {
                own.push(binding);
            }
        }
        if own.is_empty() {
            continue;
        }
        let objects = review.objects(&invocation, new, old).await?;
        let subject = Subject::new(review.call, (review.request, &invocation), (&objects.new, &objects.old));
        for binding in own {
            for decision in decisions(&subject, &policy, binding) {
                act(&subject, &policy, binding, decision, &mut denied);
            }
        }
    }
    denied.map_or(Ok(()), |denial| Err(denial.refusal(review)))
}

/// The first decision to deny; the others do not show.
struct Denial {
    message: String,
    reason: String,
}

fn decisions(subject: &Subject<'_>, policy: &Policy, binding: &Binding) -> Vec<Decision> {
    match params::of(subject, &policy.param_kind, &binding.param_ref) {
        Ok(all) => all.iter().flat_map(|param| policy.judge(subject, param)).collect(),
        Err(why) => policy.failure(&format!("failed to configure binding: {why}")).into_iter().collect(),
    }
}

fn act(
    subject: &Subject<'_>,
    policy: &Policy,
    binding: &Binding,
    decision: Decision,
    denied: &mut Option<Denial>,
) {
    let (name, by) = (&policy.name, &binding.name);
    // What cannot be configured or noted denies, whatever the binding wants.
    if (decision.is_certain || binding.wants("Deny")) && denied.is_none() {
        let message = format!(
            "ValidatingAdmissionPolicy '{name}' with binding '{by}' denied request: {}",
            decision.message
        );
        *denied = Some(Denial { message, reason: decision.reason.clone() });
    }
    if decision.is_certain {
        return;
    }
    if binding.wants("Warn") {
        let text = format!(
            "Validation failed for ValidatingAdmissionPolicy '{name}' with binding '{by}': {}",
            decision.message
        );
        subject.call.warn(text);
    }
    if binding.wants("Audit") {
        let told = json!([{
            "message": decision.message, "policy": name, "binding": by, "expressionIndex": decision.index,
            "validationActions": binding.actions,
        }]);
        subject.call.note(FAILURE_NOTE.to_owned(), told.to_string());
    }
}

impl Denial {
    fn refusal(self, review: &Review<'_>) -> Box<Refusal> {
        let cause = Cause { message: self.message.clone(), ..Cause::default() };
        let (resource, name) = (&review.served.resource, review.request.name);
        let mut refusal = forbidden_because(resource, name, &self.message, vec![cause]);
        let reason = if self.reason.is_empty() { "Invalid" } else { &self.reason };
        refusal.status.reason = reason.to_owned();
        refusal.status.code = Reason::parse(reason).map_or(422, Reason::code);
        refusal
    }
}
