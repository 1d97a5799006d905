//! Carrying out an edit of a pod: one patch, and then certainty.

use api_client::{Class, Client, Error, Patch, WriteOptions};
use api_core::{Pod, drain};
use api_meta::{Object, ObjectKey};
use serde_json::{Value, json};
use stdx::Env;

use crate::config::WRITE_RETRY;
use crate::facts::{PodFact, PodWire};
use crate::plan::Edit;

/// What is known of the pod after an edit.
pub(crate) struct Outcome {
    /// The pod.
    pub(crate) pod: ObjectKey,
    /// The edit, if it was acknowledged.
    pub(crate) written: Option<Edit>,
    /// The pod as the server last showed it; none when it is gone, or not the proxy's business any more.
    pub(crate) fact: Option<PodFact>,
}

/// Sends the patch. When it was refused, or nobody knows whether it was carried out, the pod is read: an edit is over only
/// when it is known how the pod stands, however long that takes.
pub(crate) async fn carry_out(client: Client, env: Env, edit: Edit) -> Outcome {
    let pod = edit.pod.clone();
    let key = (pod.namespace.as_str(), pod.name.as_str());
    let patch = Patch::Merge(body(&edit));
    let sent: Result<PodWire, Error> =
        client.patch(&Pod::RESOURCE, key, "", &patch, &WriteOptions::default()).await;
    let error = match sent {
        Ok(wire) => return Outcome { fact: wire.fact(), written: Some(edit), pod },
        Err(error) => error,
    };
    match error.class() {
        Class::NotFound => return Outcome { fact: None, written: None, pod },
        Class::Conflict => tracing::debug!(%pod, "pod has changed meanwhile; looking again"),
        Class::Transient => tracing::debug!(%pod, %error, "pod not patched"),
        _ => {
            tracing::warn!(%pod, %error, "pod not patched; it is not sent traffic, or not released, until this succeeds")
        }
    }
    if error.class() != Class::Conflict {
        env.sleep(WRITE_RETRY).await;
    }
    let fact = look(&client, &env, &pod).await;
    Outcome { fact, written: None, pod }
}

async fn look(client: &Client, env: &Env, pod: &ObjectKey) -> Option<PodFact> {
    loop {
        match client.get::<PodWire>(&Pod::RESOURCE, &pod.namespace, &pod.name).await {
            Ok(wire) => return wire.fact(),
            Err(error) if error.is_not_found() => return None,
            Err(error) => {
                tracing::debug!(%pod, %error, "pod not read");
                env.sleep(WRITE_RETRY).await;
            }
        }
    }
}

/// The merge patch, fenced by uid and version.
fn body(edit: &Edit) -> Value {
    let mut metadata = json!({"uid": edit.uid, "resourceVersion": edit.version});
    if let Some(finalizers) = &edit.finalizers {
        metadata["finalizers"] = json!(finalizers);
    }
    if let Some(conditions) = &edit.conditions {
        metadata["annotations"] = json!({drain::AVAILABLE_CONDITIONS: conditions});
    }
    json!({"metadata": metadata})
}
