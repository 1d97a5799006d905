//! The roles and bindings of every cluster, and the rules of those that gather others.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use rbac::{Index, Kind, Repair};
use serde_json::{Value, json};
use store::{Key, KeyRange, Revision};

use crate::bootstrap::BootstrapError;
use crate::server::ApiServer;
use crate::stored;

const API: &str = "/apis/rbac.authorization.k8s.io/v1";
const GROUP: &str = "rbac.authorization.k8s.io";
/// Changes that come within this time are gathered at once.
const GATHER_PAUSE: Duration = Duration::from_millis(100);

/// What must be asked of the server to have an object as it should be.
#[derive(Debug)]
struct Step {
    method: &'static str,
    path: String,
    body: Value,
}

impl ApiServer {
    /// Makes the roles and bindings of a new cluster, and adds to them what an old one lost of it. Call after
    /// [`ApiServer::bootstrap`] on a server whose authorizer is [`crate::auth::Rbac`], before its first request.
    ///
    /// # Errors
    /// When an object is refused.
    pub async fn bootstrap_roles(self: &Arc<Self>) -> Result<(), BootstrapError> {
        let steps = rbac::bootstrap::objects().into_iter().map(|object| self.steps(object));
        // All at once: they share the store's syncs. A binding may come before its role.
        let outcomes = join_all(steps.map(|steps| self.take(steps))).await;
        outcomes.into_iter().collect()
    }

    fn steps(&self, object: Value) -> Vec<Step> {
        let (collection, key) = place(&object);
        let path = format!("{collection}/{}", key.name);
        let existing = self.store.get(&key).and_then(|found| stored::decode(&found).ok());
        let create = |body| Step { method: "POST", path: collection.clone(), body };
        let Some(existing) = existing else { return vec![create(object)] };
        match rbac::repair(&object, &existing) {
            Repair::Nothing => Vec::new(),
            Repair::Update(body) => vec![Step { method: "PUT", path, body }],
            Repair::Recreate => vec![Step { method: "DELETE", path, body: json!({}) }, create(object)],
        }
    }

    async fn take(self: &Arc<Self>, steps: Vec<Step>) -> Result<(), BootstrapError> {
        for Step { method, path, body } in steps {
            let (code, why) = self.own_request(method, &path, "application/json", &body).await;
            if !(200..300).contains(&code) {
                let what = format!("{path} {}", body["metadata"]["name"]);
                return Err(BootstrapError { what, why });
            }
        }
        Ok(())
    }

    /// Keeps writing into ClusterRoles that gather others what they gather, as upstream's controller does. Decisions do not
    /// wait for it: the authorizer gathers by itself.
    pub fn gather_roles(self: &Arc<Self>) {
        self.env.spawn("apiserver-roles", gather(Arc::downgrade(self)));
    }
}

/// Collection and key of an object.
fn place(object: &Value) -> (String, Key) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let plural = format!("{}s", text(&object["kind"]).to_lowercase());
    let (namespace, name) = (text(&object["metadata"]["namespace"]), text(&object["metadata"]["name"]));
    let collection = match namespace.as_str() {
        "" => format!("{API}/{plural}"),
        ns => format!("{API}/namespaces/{ns}/{plural}"),
    };
    (collection, Key::new(&format!("{plural}.{GROUP}"), &namespace, &name))
}

async fn gather(server: Weak<ApiServer>) {
    let range = || KeyRange { resource: format!("clusterroles.{GROUP}").into(), namespace: None };
    loop {
        let Some(strong) = server.upgrade() else { return };
        let from = write_gathered(&strong, &range()).await;
        let cursor = strong.store.watch(range(), from);
        let pause = strong.env.sleep(GATHER_PAUSE);
        // Not held while waiting, so that the server can end.
        drop(strong);
        // History that is gone, or a store that ended, is found out at the next look.
        if let Ok(mut cursor) = cursor {
            let _ = cursor.next().await;
        }
        pause.await;
    }
}

/// Brings aggregated roles up to date; gives the revision that was looked at.
async fn write_gathered(server: &Arc<ApiServer>, range: &KeyRange) -> Revision {
    let Ok(page) = server.store.list(range, None, None, 0, None) else { return server.store.revision() };
    let mut index = Index::new();
    for found in &page.items {
        // One that cannot be read grants nothing; the authorizer has told of it.
        let Ok(plain) = found.body.unpack() else { continue };
        let _ = index.put(Kind::ClusterRole, "", &found.key.name, &plain);
    }
    for (name, rules) in index.aggregated() {
        if index.says(name, &rules) {
            continue;
        }
        let path = format!("{API}/clusterroles/{name}?fieldManager=clusterrole-aggregation-controller");
        let body = json!({"rules": rules});
        let (code, why) = server.own_request("PATCH", &path, "application/merge-patch+json", &body).await;
        if code >= 300 {
            tracing::warn!(name, %why, "rules of an aggregated role were not written");
        }
    }
    page.revision
}
