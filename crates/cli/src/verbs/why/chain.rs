//! Who owns an object, up to the workload that a person wrote.

use api_meta::Resource;
use serde_json::Value;

use crate::Catalogue;
use crate::scene::{controller, key_of};
use crate::session::Session;

/// An object with its collection.
pub(super) struct Link {
    pub(super) resource: Resource,
    pub(super) object: Value,
}

/// Owners followed upwards; a circle ends there.
const OWNERS_MAX: usize = 8;

/// The owners of an object, the nearest first. An owner that is gone ends the chain.
pub(super) async fn owners(
    session: &Session,
    catalogue: &Catalogue,
    object: &Value,
) -> anyhow::Result<Vec<Link>> {
    let mut out: Vec<Link> = Vec::new();
    let mut at = object.clone();
    while let Some(owner) = controller(&at).filter(|_| out.len() < OWNERS_MAX) {
        let text = |field: &str| owner[field].as_str().unwrap_or_default();
        let Ok(entry) = catalogue.kind(text("apiVersion"), text("kind")) else { break };
        let resource = entry.resource.clone();
        let found = session.client.get::<Value>(&resource, &key_of(&at).namespace, text("name")).await;
        let object = match found {
            Ok(object) => object,
            Err(error) if error.is_not_found() => break,
            Err(error) => return Err(error.into()),
        };
        out.push(Link { resource, object: object.clone() });
        at = object;
    }
    Ok(out)
}
