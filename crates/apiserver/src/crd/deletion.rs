//! The end of a definition: its objects go first, then the finalizer.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use api_client::{Class, Client, DeleteOptions, ListOptions, Patch, WriteOptions};
use api_meta::Resource;
use serde_json::{Value, json};
use stdx::Time;
use store::KeyRange;

use super::establish::client;
use super::names::{self, Condition};
use super::{FINALIZER, RESOURCE, text, texts, versions};
use crate::server::ApiServer;

/// Objects deleted before the list is looked at again.
const PAGE: usize = 500;
/// How long to wait before looking whether the last objects (with finalizers of their own) are gone.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(250);

/// What the deletion of a definition does to it at once: it stays until its objects are gone, and says so.
pub(crate) fn mark(definition: &mut Value, now: Time) {
    let mut finalizers = texts(&definition["metadata"]["finalizers"]);
    let is_going = !definition["metadata"]["deletionTimestamp"].is_null();
    if is_going {
        return;
    }
    if !finalizers.iter().any(|f| f == FINALIZER) {
        finalizers.push(FINALIZER.to_owned());
    }
    definition["metadata"]["finalizers"] = json!(finalizers);
    let message = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
    let condition =
        Condition { kind: "Terminating", is_true: true, reason: "InstanceDeletionPending", message };
    if !definition["status"].is_object() {
        definition["status"] = json!({});
    }
    names::set(&mut definition["status"], now, condition);
}

/// Whether a definition waits for its objects to go.
pub(super) fn is_wanted(definition: &Value) -> bool {
    !definition["metadata"]["deletionTimestamp"].is_null()
        && texts(&definition["metadata"]["finalizers"]).iter().any(|f| f == FINALIZER)
}

/// Definitions whose objects are being deleted, one task each, by identity.
#[derive(Default)]
pub(super) struct Emptying {
    running: Arc<Mutex<BTreeSet<String>>>,
}

impl Emptying {
    /// Starts deleting the objects of a definition, unless that is being done.
    pub(super) fn start(&self, server: &Arc<ApiServer>, definition: &Value) {
        let uid = text(definition, "/metadata/uid").to_owned();
        if !lock(&self.running).insert(uid.clone()) {
            return;
        }
        let (weak, definition, running) = (Arc::downgrade(server), definition.clone(), self.running.clone());
        server.env.spawn("empty-definition", async move {
            empty(weak, &definition).await;
            lock(&running).remove(&uid);
        });
    }
}

fn lock(set: &Mutex<BTreeSet<String>>) -> MutexGuard<'_, BTreeSet<String>> {
    set.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Deletes objects until none is left, then lets the definition go.
async fn empty(server: Weak<ApiServer>, definition: &Value) {
    let name = text(definition, "/metadata/name");
    let range = KeyRange { resource: name.into(), namespace: None };
    while let Some(server) = server.upgrade() {
        let client = client(&server);
        let done = match resource(definition) {
            Some(resource) if server.store.count(&range) > 0 => delete_page(&client, &resource).await,
            _ => Ok(()),
        };
        let done = match done {
            Ok(()) if server.store.count(&range) == 0 => let_go(&client, name).await.map(|()| true),
            other => other.map(|()| false),
        };
        match done {
            Ok(true) => return,
            Ok(false) => {}
            Err(why) => tracing::debug!(%name, %why, "empty a definition; trying again"),
        }
        let env = server.env.clone();
        drop((client, server));
        env.sleep(LOOK_AGAIN_AFTER).await;
    }
}

/// The objects as a resource, in a served version: the stored one if it is served.
fn resource(definition: &Value) -> Option<Resource> {
    let served = || versions(definition).filter(|v| v["served"] == true);
    let version = served().find(|v| v["storage"] == true).or_else(|| served().next())?;
    Some(Resource {
        group: text(definition, "/spec/group").to_owned().into(),
        version: text(version, "/name").to_owned().into(),
        plural: text(definition, "/spec/names/plural").to_owned().into(),
        kind: text(definition, "/spec/names/kind").to_owned().into(),
        namespaced: text(definition, "/spec/scope") == "Namespaced",
    })
}

async fn delete_page(client: &Client, resource: &Resource) -> Result<(), api_client::Error> {
    let options = ListOptions { limit: PAGE, ..ListOptions::default() };
    let page = client.list::<Value>(resource, "", &options).await?;
    for object in page.items {
        if !object["metadata"]["deletionTimestamp"].is_null() {
            continue;
        }
        let key = (text(&object, "/metadata/namespace"), text(&object, "/metadata/name"));
        match client.delete(resource, key, &DeleteOptions::default()).await {
            Err(error) if error.class() == Class::NotFound => {}
            other => other?,
        }
    }
    Ok(())
}

/// Takes the finalizer off, so that the definition can go.
async fn let_go(client: &Client, name: &str) -> Result<(), api_client::Error> {
    let definition: Value = match client.get(&RESOURCE, "", name).await {
        Err(error) if error.class() == Class::NotFound => return Ok(()),
        other => other?,
    };
    let mut left = texts(&definition["metadata"]["finalizers"]);
    left.retain(|f| f != FINALIZER);
    let version = text(&definition, "/metadata/resourceVersion");
    let patch = json!({"metadata": {"resourceVersion": version, "finalizers": left}});
    let done = client
        .patch::<Value>(&RESOURCE, ("", name), "", &Patch::Merge(patch), &WriteOptions::default())
        .await;
    match done {
        Err(error) if error.class() == Class::NotFound => Ok(()),
        other => other.map(|_| ()),
    }
}
