//! Stage: may this user do this?

use api_meta::{Reason, Resource, Status, StatusDetails};

use crate::refuse::{Outcome, Refusal, forbidden};
use crate::server::Call;
use crate::who::{Attributes, Decision};

/// Refuses what the authorizer refuses.
pub(super) fn check(call: &Call) -> Outcome<()> {
    let what = attributes(call);
    match call.server.authorizer.authorize(&call.user, &what) {
        Decision::Allow => Ok(()),
        Decision::Deny(why) => {
            call.deny();
            Err(denied(&call.user.name, &what, &why))
        }
    }
}

/// What a request wants to do.
pub(super) fn attributes(call: &Call) -> Attributes<'_> {
    let target = &call.target;
    let is_resource = target.is_resource && !target.resource.is_empty();
    let of = |part| if is_resource { part } else { "" };
    Attributes {
        verb: call.verb,
        group: of(target.group.as_str()),
        version: of(target.version.as_str()),
        resource: of(target.resource.as_str()),
        subresource: of(target.subresource.as_str()),
        namespace: of(target.namespace.as_str()),
        name: of(target.name.as_str()),
        path: &target.path,
    }
}

/// A refusal in upstream's words.
pub(super) fn denied(user: &str, what: &Attributes<'_>, why: &str) -> Box<Refusal> {
    let because = if why.is_empty() { String::new() } else { format!(": {why}") };
    if what.resource.is_empty() {
        let message = format!("forbidden: User {user:?} cannot {} path {:?}{because}", what.verb, what.path);
        return Status::failure(Reason::Forbidden, message).with_details(StatusDetails::default()).into();
    }
    let plural = match what.subresource {
        "" => what.resource.to_owned(),
        sub => format!("{}/{sub}", what.resource),
    };
    let place = match what.namespace {
        "" => "at the cluster scope".to_owned(),
        ns => format!("in the namespace {ns:?}"),
    };
    let text = format!(
        "User {user:?} cannot {} resource {plural:?} in API group {:?} {place}{because}",
        what.verb, what.group
    );
    let resource = Resource {
        group: what.group.to_owned().into(),
        version: what.version.to_owned().into(),
        plural: what.resource.to_owned().into(),
        kind: String::new().into(),
        namespaced: !what.namespace.is_empty(),
    };
    forbidden(&resource, what.name, &text)
}
