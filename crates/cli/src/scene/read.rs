//! Reading the live state into a scene.

use anyhow::Context;
use api_client::{Client, ListOptions};
use api_meta::Resource;
use serde_json::Value;

use super::Scene;
use crate::verbs::PAGE;

/// The guard's settings, where there are any.
const GUARDS: Resource = Resource::cluster("knarr.dev", "v1alpha1", "guards", "Guard");

/// Whether limits are set that count the pods of the whole cluster: then all namespaces have to be read.
pub(crate) async fn counts_everywhere(client: &Client) -> anyhow::Result<bool> {
    let guards = read_values(client, &GUARDS, "").await?;
    let wide = |guard: &Value| {
        let limits = &guard["spec"]["limits"];
        let planned = guard["spec"]["plan"].as_str().is_some_and(|p| !p.is_empty());
        planned || ["cluster", "cell", "cells"].iter().any(|field| !limits[*field].is_null())
    };
    Ok(guards.iter().any(wide))
}

/// Reads all mirrored kinds and `others`: of these namespaces where a kind has namespaces. A kind that the server does not
/// serve has no objects.
pub(crate) async fn read(
    scene: &mut Scene,
    client: &Client,
    namespaces: &[String],
    others: &[Resource],
) -> anyhow::Result<()> {
    let mut kinds = scene.mirrored();
    for other in others {
        if !kinds.iter().any(|k| super::is_same(k, other)) {
            kinds.push(other.clone());
        }
    }
    let everywhere = [String::new()];
    for kind in &kinds {
        let places: &[String] = if kind.namespaced { namespaces } else { &everywhere };
        for place in places {
            for object in read_values(client, kind, place).await? {
                scene.take(kind, object)?;
            }
        }
    }
    scene.synced();
    Ok(())
}

/// The objects of a collection; none when the server does not serve it.
pub(crate) async fn read_values(
    client: &Client,
    kind: &Resource,
    namespace: &str,
) -> anyhow::Result<Vec<Value>> {
    let mut out = Vec::new();
    let mut options = ListOptions { limit: PAGE, ..ListOptions::default() };
    loop {
        let page = match client.list::<Value>(kind, namespace, &options).await {
            Ok(page) => page,
            Err(error) if error.is_not_found() => return Ok(out),
            Err(error) => return Err(error).with_context(|| format!("list {}", kind.plural)),
        };
        out.extend(page.items.into_iter().map(|object| crate::verbs::with_head(object, kind)));
        options.r#continue = page.metadata.r#continue;
        if options.r#continue.is_empty() {
            return Ok(out);
        }
    }
}
