//! Stage: priority and fairness (see [`crate::flow`]), and a last look at memory.

use api_client::{Body, Response};
use api_meta::{Reason, Status, StatusDetails};
use futures_util::StreamExt;
use store::KeyRange;

use crate::flow::{Asked, Busy, Place};
use crate::refuse::{Outcome, Refusal};
use crate::server::Call;
use crate::settings;

/// Objects that one seat is enough for, and most seats of a list, as upstream.
const OBJECTS_PER_SEAT: usize = 100;
const SEATS_MAX: usize = 10;
/// What is served for as long as the client likes: it would hold its seat for ever.
const LONG_RUNNING: [&str; 5] = ["attach", "exec", "log", "portforward", "proxy"];

/// A place among the requests that run. A watch holds its place only until its stream begins.
pub(super) async fn enter(call: &Call) -> Outcome<Option<Place>> {
    let server = &call.server;
    if server.is_short_of_memory() && !frees_or_is_small(call) {
        return Err(busy());
    }
    if LONG_RUNNING.contains(&call.target.subresource.as_str()) {
        return Ok(None);
    }
    let target = &call.target;
    let is_resource = target.is_resource && !target.resource.is_empty();
    let resource = match target.subresource.as_str() {
        "" => target.resource.clone(),
        subresource => format!("{}/{subresource}", target.resource),
    };
    let asked = Asked {
        user: &call.user,
        verb: call.verb,
        path: if is_resource { "" } else { &target.path },
        group: &target.group,
        resource: &resource,
        namespace: &target.namespace,
    };
    match server.gate.enter(&asked, width(call), &server.env).await {
        Ok(place) => {
            if let Some(uids) = &place.uids {
                call.set_flow(uids.clone());
            }
            Ok(Some(place))
        }
        Err(Busy::ConcurrencyLimit | Busy::QueueFull | Busy::TimeOut) => Err(busy()),
    }
}

/// Seats that a request asks for: a list by the objects it goes through, anything else one.
fn width(call: &Call) -> u32 {
    if call.verb != "list" {
        return 1;
    }
    let target = &call.target;
    let Some(served) = call.snapshot.get(&target.group, &target.version, &target.resource) else { return 1 };
    let namespace = call.namespace(served);
    let range = KeyRange {
        resource: served.storage_key.clone(),
        namespace: (!namespace.is_empty()).then(|| namespace.into()),
    };
    let count = call.server.store.count(&range);
    let limit = call.query.get("limit").parse().ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
    let seats = count.min(limit).div_ceil(OBJECTS_PER_SEAT).clamp(1, SEATS_MAX);
    u32::try_from(seats).unwrap_or(1)
}

/// What must go on when memory is short: deletions make room, leases and probes keep the cluster together, and a single object is
/// soon read.
fn frees_or_is_small(call: &Call) -> bool {
    let is_lease = call.target.resource == "leases";
    // Who gives the server more memory must be heard.
    !call.target.is_resource
        || is_lease
        || settings::is_limits_path(&call.target)
        || matches!(call.verb, "get" | "delete" | "deletecollection")
}

/// The words of upstream's filter.
fn busy() -> Box<Refusal> {
    let text = "Too many requests, please try again later.";
    let details = StatusDetails { retry_after_seconds: Some(1), ..StatusDetails::default() };
    let status = Status::failure(Reason::TooManyRequests, text).with_details(details);
    Box::new(Refusal { status, next: None, plain: Some("Too many requests, please try again later.\n") })
}

/// Keeps the place until the last part of a long list was taken, and lets few lists be encoded at one time: what they need of the
/// processors is not taken from short requests.
pub(super) fn hold(call: &Call, place: Option<Place>, mut response: Response) -> Response {
    if call.verb != "list" {
        return response;
    }
    let body = std::mem::replace(response.body_mut(), Body::Full(bytes::Bytes::new()));
    *response.body_mut() = match body {
        Body::Full(bytes) => Body::Full(bytes),
        Body::Stream(parts) => {
            let start = (call.server.clone(), place, parts);
            Body::Stream(Box::pin(futures_util::stream::unfold(
                start,
                |(server, place, mut parts)| async move {
                    let turn = server.encoders.acquire().await;
                    let part = parts.next().await;
                    drop(turn);
                    part.map(|part| (part, (server, place, parts)))
                },
            )))
        }
    };
    response
}
