//! Who may do what: roles and bindings, escalation, impersonation, tokens of service accounts.

mod audit;
mod bootstrap;
mod escalation;
mod impersonation;
mod roles;
mod tokens;

use std::sync::Arc;

use apiserver::auth::{Rbac, TableAuthorizer};
use apiserver::{Rule, User};
use serde_json::{Value, json};
use store::{MemoryDisk, MemoryEngine};

use crate::fixture::World;

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

/// A server that judges by roles and bindings, with those of a new cluster.
async fn world() -> World {
    let w = bare_world(store::Limits::default().inline()).await;
    w.server.bootstrap_roles().await.unwrap();
    w
}

/// The same without any role, and with rows for the user `component`.
async fn bare_world(limits: store::Limits) -> World {
    let engine = Box::new(MemoryEngine::new(MemoryDisk::default()));
    World::judged_by(engine, limits, |store| {
        let words = |word: &str| vec![word.to_owned()];
        let mut table = TableAuthorizer::new();
        table.allow(
            "component",
            [Rule { groups: words(""), resources: words("nodes"), verbs: words("list") }],
        );
        Arc::new(Rbac::new(store.clone(), table))
    })
    .await
}

fn viewer(w: &World) -> World {
    w.as_user(User::new("viewer", &["viewers"]))
}

fn roles() -> String {
    format!("{RBAC}/namespaces/ns/roles")
}

fn bindings() -> String {
    format!("{RBAC}/namespaces/ns/rolebindings")
}

fn rule(verbs: &[&str], group: &str, resource: &str) -> Value {
    json!({"verbs": verbs, "apiGroups": [group], "resources": [resource]})
}

fn role(name: &str, rules: Value) -> Value {
    json!({"metadata": {"name": name}, "rules": rules})
}

/// A binding of a role to the viewer.
fn binding(name: &str, kind: &str, role: &str) -> Value {
    json!({
        "metadata": {"name": name}, "roleRef": {"kind": kind, "name": role},
        "subjects": [{"kind": "User", "name": "viewer"}]
    })
}

/// Lets the viewer do this in the test namespace.
async fn grant(w: &World, name: &str, rules: Value) {
    w.post(&roles(), role(name, rules)).await.created();
    w.post(&bindings(), binding(name, "Role", name)).await.created();
}
