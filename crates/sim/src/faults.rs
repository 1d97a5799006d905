//! What goes wrong between a component and the server.

use std::sync::Arc;
use std::time::Duration;

use api_client::{Body, BodyStream, Error, Request, Response, Transport};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::StatusCode;
use stdx::BoxFuture;

use crate::log::Log;
use crate::machine::Dice;

/// How much goes wrong; chances are per thousand.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    /// Longest delay of a request, and again of its answer.
    pub delay_max: Duration,
    /// A request is lost before it reaches the server.
    pub lost_before: u32,
    /// An answer is lost after the server has acted.
    pub lost_after: u32,
    /// The server says it is overloaded (429, 500 or 503) and does nothing.
    pub refused: u32,
    /// A chunk of a watch is the last one: the stream ends or breaks after it.
    pub watch_cut: u32,
    /// A chunk of a watch comes late, and so does all that follows.
    pub watch_late: u32,
    /// Longest delay of a late chunk.
    pub late_max: Duration,
}

impl Faults {
    /// Nothing goes wrong and nothing takes time.
    pub const NONE: Faults = Faults {
        delay_max: Duration::ZERO,
        lost_before: 0,
        lost_after: 0,
        refused: 0,
        watch_cut: 0,
        watch_late: 0,
        late_max: Duration::ZERO,
    };

    /// Whether nothing goes wrong.
    pub fn is_none(&self) -> bool {
        let chances = [self.lost_before, self.lost_after, self.refused, self.watch_cut, self.watch_late];
        chances.iter().all(|c| *c == 0)
    }

    /// A bad day.
    pub const ROUGH: Faults = Faults {
        delay_max: Duration::from_millis(40),
        lost_before: 15,
        lost_after: 15,
        refused: 15,
        watch_cut: 10,
        watch_late: 30,
        late_max: Duration::from_secs(5),
    };
}

/// A transport on which things go wrong.
pub(crate) struct Faulty {
    shared: Arc<Shared>,
}

struct Shared {
    inner: Arc<dyn Transport>,
    faults: Faults,
    dice: Arc<Dice>,
    log: Log,
}

impl Faulty {
    pub(crate) fn new(inner: Arc<dyn Transport>, faults: Faults, dice: Arc<Dice>, log: Log) -> Faulty {
        Faulty { shared: Arc::new(Shared { inner, faults, dice, log }) }
    }
}

impl Transport for Faulty {
    fn send(&self, request: Request) -> BoxFuture<Result<Response, Error>> {
        let shared = self.shared.clone();
        Box::pin(async move { shared.carry(request).await })
    }
}

impl Shared {
    async fn carry(self: Arc<Self>, request: Request) -> Result<Response, Error> {
        let (faults, dice) = (self.faults, self.dice.clone());
        let what = format!("{} {}", request.method(), request.uri().path());
        pause(dice.shorter_than(faults.delay_max)).await;
        if dice.happens(faults.lost_before) {
            self.log.line(&format!("fault: lost {what}"));
            return Err(Error::Unreachable("request lost".to_owned()));
        }
        if dice.happens(faults.refused) {
            self.log.line(&format!("fault: refused {what}"));
            return Ok(refusal(&dice));
        }
        let response = self.inner.send(request).await?;
        pause(dice.shorter_than(faults.delay_max)).await;
        let (parts, body) = response.into_parts();
        match body {
            Body::Full(_) if dice.happens(faults.lost_after) => {
                self.log.line(&format!("fault: answer lost {what}"));
                Err(Error::Unreachable("answer lost".to_owned()))
            }
            Body::Full(bytes) => Ok(Response::from_parts(parts, Body::Full(bytes))),
            Body::Stream(chunks) => Ok(Response::from_parts(parts, Body::Stream(self.stream(chunks, what)))),
        }
    }

    fn stream(self: Arc<Self>, chunks: BodyStream, what: String) -> BodyStream {
        let state = (self, chunks, what, Next::Read);
        Box::pin(stream::unfold(state, |(shared, mut chunks, what, next)| async move {
            match next {
                Next::End => return None,
                Next::Break => {
                    return Some((
                        Err(Error::Unreachable("stream broken".to_owned())),
                        (shared, chunks, what, Next::End),
                    ));
                }
                Next::Read => {}
            }
            let chunk = chunks.next().await?;
            let (faults, dice) = (shared.faults, shared.dice.clone());
            if dice.happens(faults.watch_late) {
                let late = dice.shorter_than(faults.late_max);
                shared.log.line(&format!("fault: late by {} ms {what}", late.as_millis()));
                pause(late).await;
            }
            let next = if dice.happens(faults.watch_cut) {
                shared.log.line(&format!("fault: cut {what}"));
                if dice.happens(500) { Next::End } else { Next::Break }
            } else {
                Next::Read
            };
            Some((chunk, (shared, chunks, what, next)))
        }))
    }
}

#[derive(Clone, Copy)]
enum Next {
    Read,
    Break,
    End,
}

async fn pause(length: Duration) {
    if !length.is_zero() {
        tokio::time::sleep(length).await;
    }
}

fn refusal(dice: &Dice) -> Response {
    let (code, reason) = match dice.below(3) {
        0 => (StatusCode::TOO_MANY_REQUESTS, "TooManyRequests"),
        1 => (StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"),
    };
    let body = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason,
        "message": "the server is having a bad day", "code": code.as_u16(),
    });
    let mut response = Response::new(Body::Full(Bytes::from(body.to_string())));
    *response.status_mut() = code;
    response
}
