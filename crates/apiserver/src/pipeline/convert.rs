//! Stage: between the version of the request and the version of storage.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use store::Stored;

use crate::refuse::{Outcome, internal};
use crate::registry::{Conversion, Served};
use crate::stored;

/// Whether a stored body can be served in this version by changing its head alone.
pub(crate) fn by_head(served: &Served, plain: &[u8]) -> bool {
    let as_is = matches!(served.conversion, Conversion::Rename)
        || stored::api_version(plain) == served.resource.api_version();
    as_is && served.stored_schema.is_none()
}

/// Whether objects of a custom kind rest in another version than that of the request.
pub(crate) fn is_needed(served: &Served) -> bool {
    served.is_custom() && served.resource.api_version() != served.storage_api_version
}

/// The object in the version of the request.
pub(crate) async fn to_served(served: &Served, mut object: Value) -> Outcome<Value> {
    reshape(served, &mut object);
    let mut object = to(served, object, served.resource.api_version()).await?;
    fit(served, &mut object);
    Ok(object)
}

/// The object in the version of storage.
pub(crate) async fn to_stored(served: &Served, object: Value) -> Outcome<Value> {
    let mut object = to(served, object, served.storage_api_version.clone()).await?;
    reshape(served, &mut object);
    Ok(object)
}

/// Brings an object in its stored version into the shape that its definition now gives that version.
pub(crate) fn reshape(served: &Served, object: &mut Value) {
    let Some((types, root)) = &served.stored_schema else { return };
    if object["apiVersion"].as_str() == Some(&served.storage_api_version) {
        let schema = api_schema::Schema { types, root: *root };
        api_schema::prune(schema, object);
        api_schema::apply_defaults(schema, object);
    }
}

/// Drops what the version of the request does not specify: a converter may leave what only other versions know.
fn fit(served: &Served, object: &mut Value) {
    if let (true, Some(schema)) = (is_needed(served), served.schema()) {
        api_schema::prune(schema, object);
    }
}

/// The object in another version; its metadata is not the converter's to change, beside labels and annotations.
async fn to(served: &Served, mut object: Value, wanted: String) -> Outcome<Value> {
    if object["apiVersion"].as_str() == Some(&wanted) {
        return Ok(object);
    }
    match &served.conversion {
        Conversion::Rename => {
            object["apiVersion"] = Value::String(wanted);
            Ok(object)
        }
        Conversion::InProcess(convert) => {
            convert(&mut object, &wanted).map_err(|e| failed(served, &e))?;
            object["apiVersion"] = Value::String(wanted);
            Ok(object)
        }
        Conversion::Outside(convert) => {
            let (before, from) = (object["metadata"].clone(), named(&object));
            api_patch::managed::unfold(&mut object);
            let done = convert.convert(vec![object], wanted.clone()).await;
            let mut list = done.map_err(|why| not_answered(&from, &why))?;
            let mut object = list
                .pop()
                .ok_or_else(|| not_answered(&from, "the webhook did not answer with the object"))?;
            keep_metadata(&mut object, before);
            object["apiVersion"] = Value::String(wanted);
            Ok(object)
        }
    }
}

fn keep_metadata(object: &mut Value, mut before: Value) {
    for key in ["labels", "annotations"] {
        match object["metadata"].get(key) {
            Some(changed) => before[key] = changed.clone(),
            None => {
                before.as_object_mut().map(|m| m.remove(key));
            }
        }
    }
    object["metadata"] = before;
}

fn failed(served: &Served, why: &str) -> Box<crate::refuse::Refusal> {
    internal(format!("conversion for {} failed: {why}", served.resource.api_version()))
}

/// `example.com/v1, Kind=Widget`, as upstream writes kinds in messages.
fn named(object: &Value) -> String {
    let text = |key: &str| object[key].as_str().unwrap_or_default();
    format!("{}, Kind={}", text("apiVersion"), text("kind"))
}

/// What upstream says of a webhook that does not convert: no reason, and no word of an internal error.
fn not_answered(from: &str, why: &str) -> Box<crate::refuse::Refusal> {
    internal(format!("conversion webhook for {from} failed: {why}")).into_plain()
}

/// The stored form of an object as if it had been stored in the version of the request; the same bytes where a new head
/// will do.
pub(crate) async fn plain(served: &Served, plain: Bytes) -> Outcome<Bytes> {
    if by_head(served, &plain) {
        return Ok(plain);
    }
    let object: Value = serde_json::from_slice(&plain).map_err(internal)?;
    let object = to_served(served, object).await?;
    Ok(stored::encode(&object).into())
}

/// Whether objects change version by asking somebody else, which is worth doing for many at once.
pub(crate) fn is_outside(served: &Served) -> bool {
    matches!(served.conversion, Conversion::Outside(_))
}

/// The stored forms of several objects as if they had been stored in the version of the request: one question for all that
/// somebody else converts.
pub(crate) async fn plains(served: &Served, items: &[Arc<Stored>]) -> Outcome<Vec<Bytes>> {
    let mut plains = items.iter().map(|item| stored::unpack(item)).collect::<Outcome<Vec<Bytes>>>()?;
    let wanted = served.resource.api_version();
    let (mut asked, mut objects) = (Vec::new(), Vec::new());
    for (i, plain) in plains.iter_mut().enumerate().filter(|(_, plain)| !by_head(served, plain)) {
        let mut object: Value = serde_json::from_slice(plain).map_err(internal)?;
        reshape(served, &mut object);
        if object["apiVersion"].as_str() == Some(&wanted) {
            *plain = stored::encode(&object).into();
        } else {
            asked.push((i, object["metadata"].clone()));
            objects.push(object);
        }
    }
    let Conversion::Outside(convert) = &served.conversion else { return Ok(plains) };
    if objects.is_empty() {
        return Ok(plains);
    }
    let from = objects.first().map(named).unwrap_or_default();
    let done = convert.convert(objects, wanted.clone()).await.map_err(|why| not_answered(&from, &why))?;
    for ((i, before), mut object) in asked.into_iter().zip(done) {
        keep_metadata(&mut object, before);
        object["apiVersion"] = Value::String(wanted.clone());
        fit(served, &mut object);
        plains[i] = stored::encode(&object).into();
    }
    Ok(plains)
}

/// The object in the version of the request; nothing when it has that version already.
pub(crate) async fn if_other(served: &Served, object: &Value) -> Outcome<Option<Value>> {
    if object["apiVersion"].as_str() == Some(&served.resource.api_version()) {
        return Ok(None);
    }
    to_served(served, object.clone()).await.map(Some)
}
