//! Stage: findings about an object become one refusal.

use api_meta::Cause;
use serde_json::Value;

use super::metadata;
use crate::refuse::{Outcome, invalid};
use crate::registry::{Context, Served};

/// Refuses a new object that is not valid.
pub(crate) fn create(served: &Served, object: &Value, context: &Context<'_>) -> Outcome<()> {
    let mut causes = metadata::validate(object, served);
    causes.extend(schema(served, object, None));
    causes.extend((served.facts.validate_create)(object, context));
    judge(served, object, causes)
}

/// Refuses a change that is not valid.
pub(crate) fn update(served: &Served, new: &Value, old: &Value, context: &Context<'_>) -> Outcome<()> {
    let mut causes = metadata::validate(new, served);
    causes.extend(metadata::validate_change(new, old));
    causes.extend(schema(served, new, Some(old)));
    causes.extend((served.facts.validate_update)(new, old, context));
    judge(served, new, causes)
}

/// What was wrong before and is as it was does not stand in the way of a change (ratcheting, by finding).
fn schema(served: &Served, object: &Value, old: Option<&Value>) -> Vec<Cause> {
    let Some(validator) = &served.validator else { return Vec::new() };
    let found = validator.validate(object);
    if found.is_empty() {
        return found;
    }
    let before = old.map(|old| validator.validate(old)).unwrap_or_default();
    found.into_iter().filter(|cause| !before.contains(cause)).collect()
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
