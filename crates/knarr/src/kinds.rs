//! What the embedded server knows of our own kinds beyond their CustomResourceDefinition: OpenKruise's defaults and validation.

use apiserver::registry::{Context, Facts};
use serde_json::Value;

/// CloneSet: what OpenKruise's admission webhooks do.
pub(crate) static CLONESET: Facts = Facts {
    default: api_workload::default_cloneset,
    validate_create: |new: &Value, _: &Context<'_>| api_workload::validate_create(new),
    validate_update: |new: &Value, old: &Value, _: &Context<'_>| api_workload::validate_update(new, old),
    warnings: |new: &Value, _: Option<&Value>| api_workload::inert_fields(new),
    ..Facts::PLAIN
};

/// Conversion of CloneSets within the server.
pub(crate) fn convert(object: &mut Value, version: &str) -> Result<(), String> {
    let whole = std::mem::take(object);
    *object = crate::webhook::convert(whole, version)?;
    Ok(())
}
