//! The parameters that a binding names.

use api_meta::LabelSelector;
use serde_json::Value;
use store::{Key, KeyRange};

use crate::cel::Subject;
use crate::registry::Served;
use crate::stored;

/// Objects with which a policy is judged, one after the other; null when it has none. None at all: it is not judged.
///
/// # Errors
/// Why the binding cannot be followed, in upstream's words.
pub(super) fn of(subject: &Subject<'_>, kind: &Value, reference: &Value) -> Result<Vec<Value>, String> {
    if kind.is_null() || reference.is_null() {
        return Ok(vec![Value::Null]);
    }
    let text = |v: &Value, key: &str| v[key].as_str().unwrap_or_default().to_owned();
    let (api_version, name) = (text(kind, "apiVersion"), text(kind, "kind"));
    let served = subject.call.snapshot.by_kind(&api_version, &name).ok_or_else(|| {
        format!("failed to find resource referenced by paramKind: '{api_version}, Kind={name}'")
    })?;
    let namespace = namespace(subject, served, &text(reference, "namespace"))?;
    let found = match text(reference, "name").as_str() {
        "" => by_selector(subject, served, &namespace, &reference["selector"])?,
        name => by_name(subject, served, &namespace, name),
    };
    let mut objects = Vec::with_capacity(found.len());
    for one in found {
        let mut object = stored::decode(&one).map_err(|why| why.status.message.clone())?;
        crate::pipeline::convert::reshape(served, &mut object);
        objects.push(object);
    }
    if objects.is_empty() && reference["parameterNotFoundAction"] != "Allow" {
        return Err("no params found for policy binding with `Deny` parameterNotFoundAction".to_owned());
    }
    Ok(objects)
}

fn namespace(subject: &Subject<'_>, served: &Served, given: &str) -> Result<String, String> {
    if !served.resource.namespaced {
        return match given {
            "" => Ok(String::new()),
            _ => Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`".to_owned()),
        };
    }
    match (given, own_namespace(subject)) {
        ("", "") => {
            Err("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
                .to_owned())
        }
        ("", own) => Ok(own.to_owned()),
        (given, _) => Ok(given.to_owned()),
    }
}

/// Where the object is; a Namespace is in none, though requests on it carry its name.
fn own_namespace<'a>(subject: &'a Subject<'_>) -> &'a str {
    let place = &subject.request.place;
    if place.group.is_empty() && place.resource == "namespaces" { "" } else { subject.request.namespace }
}

type Found = Vec<std::sync::Arc<store::Stored>>;

fn by_name(subject: &Subject<'_>, served: &Served, namespace: &str, name: &str) -> Found {
    let key = Key { resource: served.storage_key.clone(), namespace: namespace.into(), name: name.into() };
    subject.call.server.store.get(&key).into_iter().collect()
}

fn by_selector(
    subject: &Subject<'_>,
    served: &Served,
    namespace: &str,
    selector: &Value,
) -> Result<Found, String> {
    let read: LabelSelector = serde_json::from_value(selector.clone()).map_err(|e| e.to_string())?;
    let selector = read.selector().map_err(|e| e.to_string())?;
    let namespace = served.resource.namespaced.then(|| namespace.into());
    let range = KeyRange { resource: served.storage_key.clone(), namespace };
    let page = subject.call.server.store.list(&range, None, None, 0, None).map_err(|e| e.to_string())?;
    Ok(page.items.into_iter().filter(|o| selector.matches(o.row.labels())).collect())
}
