//! PUT: the whole object, or the part behind a subresource.

use std::sync::Arc;

use api_client::Response;
use serde_json::Value;

use super::{Change, Retry, change_asked, create, options};
use crate::pipeline::owners::{self, Writer};
use crate::pipeline::{admit, decode, metadata};
use crate::refuse::{MODIFIED, Outcome, bad_request, conflict};
use crate::registry::Served;
use crate::represent;
use crate::server::Call;

/// PUT of an object, or of its status.
pub(crate) async fn update(call: &Call, served: &Arc<Served>, subresource: &str) -> Outcome<Response> {
    options::check(call, "UpdateOptions")?;
    let accept = call.accepted()?;
    let mut object = decode::object(call, &decode::expected(served))?;
    check_identity(call, served, &mut object)?;
    decode::default(&mut object, served);
    let name = &call.target.name;
    let manager = call.manager();
    let key = call.key(served);
    let version = metadata::text(&object, "resourceVersion").to_owned();
    let is_missing = call.server.store.get(&key).is_none();
    if is_missing && subresource.is_empty() && served.facts.create_on_update {
        if !matches!(version.as_str(), "" | "0") {
            return Err(conflict(&served.resource, name, MODIFIED));
        }
        admit::namespace_for_create(call, served, name)?;
        let writer = Writer { manager: &manager, subresource: "", now: call.server.env.now() };
        owners::update(served, &writer, None, &mut object);
        let written = create::store(call, served, object).await?;
        return represent::written(call, served, &written, accept, 201).await;
    }
    let retry = if matches!(version.as_str(), "" | "0") { Retry::Again } else { Retry::Never };
    let how =
        Change { name, subresource, manager: &manager, retry, dry_run: call.query.dry_run(), uid: None };
    let written = change_asked(call, served, how, |old| {
        check_uid(served, name, &object, old)?;
        Ok(object.clone())
    });
    represent::written(call, served, &written.await?, accept, 200).await
}

fn check_identity(call: &Call, served: &Served, object: &mut Value) -> Outcome<()> {
    create::check_namespace(call, served, object)?;
    let (wanted, given) = (call.target.name.as_str(), metadata::text(object, "name"));
    if given.is_empty() {
        return Err(undeterminable(wanted));
    }
    check_name(wanted, given)
}

/// What is said of an object without a name.
pub(super) fn undeterminable(wanted: &str) -> Box<crate::refuse::Refusal> {
    let text = "was undeterminable: name must be provided";
    bad_request(format!("the name of the object ({wanted} based on URL) {text}"))
}

/// The name in the body must be that of the path.
pub(crate) fn check_name(wanted: &str, given: &str) -> Outcome<()> {
    if given == wanted {
        return Ok(());
    }
    Err(bad_request(format!(
        "the name of the object ({given}) does not match the name on the URL ({wanted})"
    )))
}

fn check_uid(served: &Served, name: &str, new: &Value, old: &Value) -> Outcome<()> {
    let (given, is) = (metadata::text(new, "uid"), metadata::text(old, "uid"));
    if given.is_empty() || given == is {
        return Ok(());
    }
    let why = format!("Precondition failed: UID in precondition: {given}, UID in object meta: {is}");
    Err(conflict(&served.resource, name, &why))
}
