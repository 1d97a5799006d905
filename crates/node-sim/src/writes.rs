//! Requests to the API server, each run as a task of its own; results come back as values.

use api_client::{Class, Client, DeleteOptions, Error, Patch, WriteOptions};
use api_core::{Lease, Node, Pod};
use api_meta::Object;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

/// A pod's write.
pub(crate) struct PodWrite {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) patch: Option<Value>,
    pub(crate) is_final: bool,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Done, or overtaken by events that the mirror will tell of.
    Settled,
    /// To be tried again.
    Retry,
}

impl PodWrite {
    /// Reports the status, then lets the object go when everything has ended.
    pub(crate) async fn run(self, client: &Client) -> Fate {
        let key = (self.namespace.as_str(), self.name.as_str());
        if let Some(patch) = self.patch {
            let patch = Patch::Strategic(patch);
            let done: Result<IgnoredAny, Error> =
                client.patch(&Pod::RESOURCE, key, "status", &patch, &WriteOptions::default()).await;
            if let Err(error) = done {
                return fate(&error, "report a simulated pod's status", &self.name);
            }
        }
        if !self.is_final {
            return Fate::Settled;
        }
        let options =
            DeleteOptions { uid: self.uid, grace_period_seconds: Some(0), ..DeleteOptions::default() };
        match client.delete(&Pod::RESOURCE, key, &options).await {
            Ok(()) => Fate::Settled,
            Err(error) => fate(&error, "let a simulated pod go", &self.name),
        }
    }
}

/// Reports a node's status.
pub(crate) async fn node_status(client: &Client, name: &str, uid: &str, status: Value) -> Fate {
    let patch = Patch::Strategic(json!({"metadata": {"uid": uid}, "status": status}));
    let done: Result<IgnoredAny, Error> =
        client.patch(&Node::RESOURCE, ("", name), "status", &patch, &WriteOptions::default()).await;
    done.map_or_else(|e| fate(&e, "report a simulated node's status", name), |_| Fate::Settled)
}

/// Takes the not-ready taint off a node that is ready.
pub(crate) async fn untaint(client: &Client, name: &str, patch: Value) -> Fate {
    let done: Result<IgnoredAny, Error> =
        client.patch(&Node::RESOURCE, ("", name), "", &Patch::Merge(patch), &WriteOptions::default()).await;
    done.map_or_else(|e| fate(&e, "take the taint off a simulated node", name), |_| Fate::Settled)
}

/// Renews a Lease, or makes it.
pub(crate) async fn renew_lease(client: &Client, name: &str, lease: Value) -> Fate {
    const NAMESPACE: &str = "kube-node-lease";
    let patch = Patch::Merge(json!({"spec": lease["spec"]}));
    let options = WriteOptions::default();
    let renewed: Result<IgnoredAny, Error> =
        client.patch(&Lease::RESOURCE, (NAMESPACE, name), "", &patch, &options).await;
    match renewed {
        Ok(_) => Fate::Settled,
        Err(error) if error.is_not_found() => {
            let made: Result<IgnoredAny, Error> =
                client.create(&Lease::RESOURCE, NAMESPACE, &lease, &options).await;
            made.map_or_else(|e| fate(&e, "make a simulated node's lease", name), |_| Fate::Settled)
        }
        Err(error) => fate(&error, "renew a simulated node's lease", name),
    }
}

fn fate(error: &Error, what: &str, name: &str) -> Fate {
    match error.class() {
        Class::Conflict | Class::NotFound | Class::Exists => Fate::Settled,
        Class::Transient | Class::Expired => {
            tracing::debug!(%error, name, what, "will try again");
            Fate::Retry
        }
        Class::Invalid | Class::Forbidden | Class::Bug => {
            tracing::warn!(%error, name, what, "was refused; will try again");
            Fate::Retry
        }
    }
}
