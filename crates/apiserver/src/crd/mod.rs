//! CustomResourceDefinitions: what may be stored, and how what is stored comes to be served.
//!
//! ```text
//! write --kind::FACTS--> store --watch--> establish: names accepted?   -> status
//!                                             |        established?    -> Registry
//!                                             |        deleted?        -> objects first, then the finalizer
//! ```
//!
//! Registration follows the store, so definitions survive restarts: what was established is served before the first
//! request. Level-triggered: a group of definitions is always looked at as a whole.
//!
//! What is absent: migration of stored objects.

mod deletion;
mod establish;
mod kind;
mod names;
mod serve;
mod validate;
mod versions;
mod webhook;

pub(crate) use deletion::mark as mark_deleted;
pub(crate) use establish::start;
pub use kind::FACTS;

use serde_json::Value;

/// Where definitions rest in the store.
pub(crate) const STORAGE_KEY: &str = "customresourcedefinitions.apiextensions.k8s.io";
/// Keeps a definition until its objects are gone.
const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";
/// The definitions as a resource.
const RESOURCE: api_meta::Resource = api_meta::Resource::cluster(
    "apiextensions.k8s.io",
    "v1",
    "customresourcedefinitions",
    "CustomResourceDefinition",
);

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The versions of a definition.
fn versions(definition: &Value) -> impl Iterator<Item = &Value> {
    definition["spec"]["versions"].as_array().into_iter().flatten()
}

/// Whether a condition of a definition is true.
fn is_true(definition: &Value, condition: &str) -> bool {
    let all = definition["status"]["conditions"].as_array().into_iter().flatten();
    all.clone().any(|c| c["type"] == condition && c["status"] == "True")
}
