//! Stage: built-in admission. Refuses or completes what is written, by what else exists.

mod classes;
mod heirs;
mod pod;
mod protect;
pub(crate) mod unavailable;

pub(crate) use pod::SYSTEM_CLASSES;
pub(crate) use protect::faults;

use serde_json::Value;
use store::{Key, Stored};

use crate::pipeline::metadata;
use crate::refuse::{Outcome, cause, forbidden, forbidden_because, not_found};
use crate::registry::{Origin, Served};
use crate::server::Call;
use crate::stored;

const NAMESPACES: api_meta::Resource = api_meta::Resource::cluster("", "v1", "namespaces", "Namespace");

/// Namespaces that cannot be deleted.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

/// Admits a new object, which may be completed.
pub(crate) fn create(call: &Call, served: &Served, object: &mut Value) -> Outcome<()> {
    namespace_for_create(call, served, metadata::text(object, "name"))?;
    match &*served.storage_key {
        "pods" => pod::create(&call.server, served, object),
        "persistentvolumeclaims" => classes::storage(&call.server, object),
        "ingresses.networking.k8s.io" => classes::ingress(&call.server, object),
        "namespaces" => {
            namespace_label(object);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Admits a change of the object itself.
pub(crate) fn update(served: &Served, new: &mut Value) {
    if &*served.storage_key == "pods" {
        pod::update(new);
    }
}

/// Admits a deletion.
pub(crate) fn delete(call: &Call, served: &Served, name: &str, current: &Stored) -> Outcome<()> {
    if &*served.storage_key == "namespaces" && IMMORTAL.contains(&name) {
        return Err(forbidden(&served.resource, name, "this namespace may not be deleted"));
    }
    protect::delete(call, served, current)
}

/// Every namespace carries its name as a label; a default, and again once a generated name is known.
pub(crate) fn namespace_label(object: &mut Value) {
    const LABEL: &str = "kubernetes.io/metadata.name";
    let name = metadata::text(object, "name").to_owned();
    if !name.is_empty() {
        object["metadata"]["labels"][LABEL] = Value::String(name);
    }
}

/// Refuses new objects in namespaces that are missing or going.
pub(crate) fn namespace_for_create(call: &Call, served: &Served, name: &str) -> Outcome<()> {
    let namespace = call.namespace(served);
    if namespace.is_empty() {
        return Ok(());
    }
    let key = Key::new("namespaces", "", namespace);
    let Some(found) = call.server.store.get(&key) else {
        return Err(not_found(&NAMESPACES, namespace));
    };
    if !is_going(&found)? {
        return Ok(());
    }
    let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
    let about = format!("namespace {namespace} is being terminated");
    let causes = vec![cause("NamespaceTerminating", "metadata.namespace", about)];
    Err(forbidden_because(&served.resource, name, &why, causes))
}

fn is_going(namespace: &Stored) -> Outcome<bool> {
    const MARK: &[u8] = b"\"deletionTimestamp\":";
    let plain = stored::unpack(namespace)?;
    // Cheap look first: few namespaces are going, and the mark within a label's value is told apart below.
    if !plain.windows(MARK.len()).any(|w| w == MARK) {
        return Ok(false);
    }
    stored::decode(namespace).map(|object| metadata::is_terminating(&object))
}

/// Whether a kind's objects may still be created at all.
pub(crate) fn is_open(served: &Served) -> bool {
    !matches!(&served.origin, Origin::Custom { is_terminating: true, .. })
}
