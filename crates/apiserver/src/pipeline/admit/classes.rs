//! Classes that are filled in where none is named (DefaultStorageClass, DefaultIngressClass).

use serde_json::{Value, json};
use store::KeyRange;

use crate::pipeline::metadata;
use crate::refuse::{Outcome, internal};
use crate::server::ApiServer;
use crate::stored;

/// A claim without a class gets the default one.
pub(super) fn storage(server: &ApiServer, claim: &mut Value) -> Outcome<()> {
    const MARKS: [&str; 2] =
        ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
    let has_older = claim["metadata"]["annotations"].get("volume.beta.kubernetes.io/storage-class").is_some();
    if !claim["spec"]["storageClassName"].is_null() || has_older || !claim["spec"].is_object() {
        return Ok(());
    }
    if let Some(name) = default_of(server, "storageclasses.storage.k8s.io", &MARKS)? {
        claim["spec"]["storageClassName"] = json!(name);
    }
    Ok(())
}

/// An ingress without a class gets the default one.
pub(super) fn ingress(server: &ApiServer, ingress: &mut Value) -> Outcome<()> {
    const MARKS: [&str; 1] = ["ingressclass.kubernetes.io/is-default-class"];
    let has_older = ingress["metadata"]["annotations"].get("kubernetes.io/ingress.class").is_some();
    if !ingress["spec"]["ingressClassName"].is_null() || has_older || !ingress["spec"].is_object() {
        return Ok(());
    }
    if let Some(name) = default_of(server, "ingressclasses.networking.k8s.io", &MARKS)? {
        ingress["spec"]["ingressClassName"] = json!(name);
    }
    Ok(())
}

/// Name of the class marked as default: the newest, then the first by name.
fn default_of(server: &ApiServer, resource: &str, marks: &[&str]) -> Outcome<Option<String>> {
    let range = KeyRange { resource: resource.into(), namespace: None };
    let page = server.store.list(&range, None, None, 0, None).map_err(internal)?;
    let mut best: Option<(String, String)> = None;
    for item in &page.items {
        let class = stored::decode(item)?;
        let annotations = &class["metadata"]["annotations"];
        if !marks.iter().any(|m| annotations[*m] == "true") {
            continue;
        }
        let created = metadata::text(&class, "creationTimestamp").to_owned();
        if best.as_ref().is_none_or(|(at, _)| created > *at) {
            best = Some((created, metadata::text(&class, "name").to_owned()));
        }
    }
    Ok(best.map(|(_, name)| name))
}
