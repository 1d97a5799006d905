//! Stage: bounded numbers of requests at one time. A watch holds its place only until its stream begins.

use api_meta::{Reason, Status, StatusDetails};
use tokio::sync::SemaphorePermit;

use crate::refuse::Outcome;
use crate::server::Call;

/// A place among the requests in flight, given back when dropped.
pub(super) fn enter(call: &Call) -> Outcome<Option<SemaphorePermit<'_>>> {
    let places = match call.verb {
        "watch" => return Ok(None),
        "get" | "list" | "head" => &call.server.reads,
        _ => &call.server.writes,
    };
    match places.try_acquire() {
        Ok(place) => Ok(Some(place)),
        Err(_) => {
            let details = StatusDetails { retry_after_seconds: Some(1), ..StatusDetails::default() };
            let text = "too many requests, please try again later";
            Err(Status::failure(Reason::TooManyRequests, text).with_details(details).into())
        }
    }
}
