//! Stage: findings about an object become one refusal.

use api_meta::Cause;
use serde_json::Value;

use super::{admit, metadata};
use crate::refuse::{Outcome, invalid};
use crate::registry::{Context, Served};

/// A change in the version of the request.
#[derive(Clone, Copy)]
pub(crate) struct Sent<'a> {
    pub(crate) new: &'a Value,
    pub(crate) old: &'a Value,
}

/// Refuses a new object that is not valid.
///
/// Gives sentences for the client: rules that are broken as they were before.
///
/// `sent` is the object in the version of the request, which is what its definition's constraints are about.
pub(crate) fn create(
    served: &Served,
    object: &Value,
    sent: &Value,
    context: &Context<'_>,
) -> Outcome<Vec<String>> {
    let mut causes = metadata::validate(object, served);
    causes.extend(schema(served, sent, None));
    causes.extend(replicas(served, sent));
    let warnings = rules(served, sent, None, &mut causes);
    causes.extend((served.facts.validate_create)(object, context));
    causes.extend(admit::faults(served, object, None));
    judge(served, object, causes).map(|()| warnings)
}

/// Refuses a change that is not valid; `sent` is what is there and what was asked for, in the version of the request.
pub(crate) fn update(
    served: &Served,
    new: &Value,
    old: &Value,
    sent: Sent<'_>,
    context: &Context<'_>,
) -> Outcome<Vec<String>> {
    // Twice, as upstream: once for every object, once more by the kind's own rules; clients count causes.
    let mut causes = metadata::validate_change(new, old);
    causes.extend(causes.clone());
    causes.extend(schema(served, sent.new, Some(sent.old)));
    causes.extend(replicas(served, sent.new));
    let warnings = rules(served, sent.new, Some(sent.old), &mut causes);
    causes.extend((served.facts.validate_update)(new, old, context));
    causes.extend(admit::faults(served, new, Some(old)));
    judge(served, new, causes).map(|()| warnings)
}

/// Findings after which a definition's rules are not run: they rely on the shape of the object.
const BLOCKING: [&str; 5] = [
    "FieldValueNotSupported",
    "FieldValueRequired",
    "FieldValueTooLong",
    "FieldValueTooMany",
    "FieldValueTypeInvalid",
];

/// Runs the rules of a custom kind; gives what is told and not refused.
fn rules(served: &Served, new: &Value, old: Option<&Value>, causes: &mut Vec<Cause>) -> Vec<String> {
    let Some(rules) = &served.rules else { return Vec::new() };
    if causes.iter().any(|c| BLOCKING.contains(&c.reason.as_str())) {
        let text = "Invalid value: null: some validation rules were not checked because the object was invalid; correct the \
                    existing errors to complete validation";
        causes.push(crate::refuse::cause("FieldValueInvalid", "<nil>", text));
        return Vec::new();
    }
    let found = rules.judge(new, old);
    causes.extend(found.causes);
    found.warnings
}

/// What was wrong before and is as it was does not stand in the way of a change (ratcheting, by finding).
fn schema(served: &Served, object: &Value, old: Option<&Value>) -> Vec<Cause> {
    let Some(validator) = &served.validator else { return Vec::new() };
    let found = validator.validate(object);
    if found.is_empty() {
        return found;
    }
    let Some(old) = old else { return found };
    let before = validator.validate(old);
    let is_as_it_was =
        |cause: &Cause| before.contains(cause) && at(object, &cause.field) == at(old, &cause.field);
    found.into_iter().filter(|cause| !is_as_it_was(cause)).collect()
}

/// The value a finding is about; of what is missing, that in which it is missing.
fn at<'a>(object: &'a Value, field: &str) -> &'a Value {
    let mut at = object;
    for step in field.split(['.', '[', ']']).filter(|s| !s.is_empty()) {
        let next = match at {
            Value::Array(items) => step.parse::<usize>().ok().and_then(|i| items.get(i)),
            other => other.get(step),
        };
        match next {
            Some(next) => at = next,
            None => break,
        }
    }
    at
}

/// Where a custom kind says its replicas are, there must be counts.
fn replicas(served: &Served, object: &Value) -> Vec<Cause> {
    let Some(scale) = served.scale.as_ref().filter(|_| served.is_custom()) else { return Vec::new() };
    let fault = |field: &String| {
        let value = *crate::represent::path::find(object, field).first()?;
        let message = match value.as_i64() {
            Some(0..) => return None,
            Some(_) => format!("Invalid value: {value}: should be a non-negative integer"),
            None => format!("Invalid value: 0: {field} accessor error: {value} is not a whole number"),
        };
        Some(Cause { reason: "FieldValueInvalid".to_owned(), field: field.clone(), message })
    };
    [&scale.spec_replicas, &scale.status_replicas].into_iter().filter_map(fault).collect()
}

fn judge(served: &Served, object: &Value, causes: Vec<Cause>) -> Outcome<()> {
    if causes.is_empty() {
        return Ok(());
    }
    let name = match metadata::text(object, "name") {
        "" => metadata::text(object, "generateName"),
        name => name,
    };
    Err(invalid(&served.resource.group, &served.resource.kind, name, causes))
}
