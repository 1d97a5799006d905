//! What is at which path.

use std::convert::Infallible;
use std::sync::Arc;

use api_client::Client;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::Incoming;
use serde_json::{Value, json};
use stdx::Env;
use tokio::sync::{Notify, mpsc, watch};
use view::board::LoadReading;

use crate::assets;
use crate::config::Limits;
use crate::demand::Demand;
use crate::door::Door;
use crate::follow::{self, Follower};
use crate::keeper::{Input, Published};
use crate::release::{self, Verb};
use crate::seats::Seats;

/// What an answer carries.
pub(crate) type Outgoing = UnsyncBoxBody<Bytes, Infallible>;

/// Nothing but our own files runs on the page, and nobody frames it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Everything that answers.
pub(crate) struct Site {
    pub(crate) door: Door,
    pub(crate) client: Client,
    pub(crate) env: Env,
    pub(crate) limits: Limits,
    pub(crate) seats: Seats,
    pub(crate) board: watch::Receiver<Arc<Published>>,
    pub(crate) demand: Demand,
    pub(crate) inputs: mpsc::Sender<Input>,
}

/// Why a request is not done.
type Refusal = (StatusCode, String);

impl Site {
    /// Answers a request. `end` ends its connection.
    pub(crate) async fn answer(
        &self,
        request: http::Request<Incoming>,
        end: Arc<Notify>,
    ) -> Response<Outgoing> {
        let (head, body) = request.into_parts();
        let answer = match self.door.admit(&head) {
            Ok(()) => self.route(&head, body, end).await,
            Err((code, why)) => Err((code, why.to_owned())),
        };
        let mut response = answer.unwrap_or_else(|(code, why)| json_answer(code, &json!({"error": why})));
        protect(response.headers_mut());
        response
    }

    async fn route(
        &self,
        head: &Parts,
        body: Incoming,
        end: Arc<Notify>,
    ) -> Result<Response<Outgoing>, Refusal> {
        let path = head.uri.path();
        if path == "/healthz" {
            return Ok(full(StatusCode::OK, "text/plain; charset=utf-8", "ok\n"));
        }
        if let Some(asset) = assets::find(path).filter(|_| head.method == Method::GET) {
            return Ok(full(StatusCode::OK, asset.kind, asset.text));
        }
        let Some(call) = path.strip_prefix("/api/") else {
            return Err((StatusCode::NOT_FOUND, "there is nothing here".to_owned()));
        };
        self.door.unlock(&head.headers).map_err(|(code, why)| (code, why.to_owned()))?;
        let words: Vec<&str> = call.split('/').collect();
        match (&head.method, words.as_slice()) {
            (&Method::GET, ["board"]) => {
                let board = self.look().await;
                Ok(full(StatusCode::OK, "application/json", follow::whole(&board)))
            }
            (&Method::GET, ["events"]) => {
                self.look().await;
                self.events(end)
            }
            (&Method::POST, ["load"]) => self.load(body).await,
            (&Method::POST, ["release", namespace, name, verb]) => {
                self.release((*namespace, *name), verb, body).await
            }
            (_, ["board" | "events" | "load"] | ["release", _, _, _]) => {
                Err((StatusCode::METHOD_NOT_ALLOWED, "not with this method".to_owned()))
            }
            _ => Err((StatusCode::NOT_FOUND, "there is nothing here".to_owned())),
        }
    }

    /// The board, after a moment for the mirrors if nobody has looked for long.
    async fn look(&self) -> Arc<Published> {
        let wait = self.demand.look(self.env.now());
        let mut board = self.board.clone();
        tokio::select! {
            biased;
            _ = board.wait_for(|board| board.is_known) => {}
            () = self.env.sleep(wait) => {}
        }
        self.board.borrow().clone()
    }

    fn events(&self, end: Arc<Notify>) -> Result<Response<Outgoing>, Refusal> {
        let Some(seat) = self.seats.take(end, self.env.now()) else {
            return Err((StatusCode::SERVICE_UNAVAILABLE, "too many pages are open: close one".to_owned()));
        };
        let follower = Follower {
            board: self.board.clone(),
            demand: self.demand.clone(),
            seat,
            env: self.env.clone(),
            heartbeat: self.limits.heartbeat,
            told: None,
            id: 0,
        };
        let body = StreamBody::new(follower.stream()).boxed_unsync();
        Ok(answer(StatusCode::OK, "text/event-stream", body))
    }

    async fn load(&self, body: Incoming) -> Result<Response<Outgoing>, Refusal> {
        let report = self.read(body).await?;
        let Some(reading) = LoadReading::of(&report) else {
            let why = "a report has numbers t, sent, ok, failed, p50_ms and p99_ms".to_owned();
            return Err((StatusCode::BAD_REQUEST, why));
        };
        // Full means that the keeper is behind: the next report says everything that this one does, being totals.
        let _ = self.inputs.try_send(Input::Load(reading));
        Ok(json_answer(StatusCode::OK, &json!({})))
    }

    async fn release(
        &self,
        key: (&str, &str),
        verb: &str,
        body: Incoming,
    ) -> Result<Response<Outgoing>, Refusal> {
        let missing = || (StatusCode::NOT_FOUND, "there is no such application or button".to_owned());
        let verb = Verb::parse(verb).ok_or_else(missing)?;
        if !is_name(key.0) || !is_name(key.1) {
            return Err(missing());
        }
        let seen = self.read(body).await?;
        let done = release::press(&self.client, key, verb, seen["group"].as_i64()).await?;
        tracing::info!(namespace = key.0, name = key.1, ?verb, "button pressed on the board");
        Ok(json_answer(StatusCode::OK, &json!({"done": done})))
    }

    /// A small JSON body; null when it is empty.
    async fn read(&self, body: Incoming) -> Result<Value, Refusal> {
        let all = Limited::new(body, self.limits.body_bytes).collect().await;
        let all = all
            .map_err(|_| (StatusCode::PAYLOAD_TOO_LARGE, "the body is too long or broken off".to_owned()))?;
        let bytes = all.to_bytes();
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes)
            .map_err(|e| (StatusCode::BAD_REQUEST, format!("the body is no JSON: {e}")))
    }
}

/// Whether it can be the name of an object, so that it cannot be another path.
fn is_name(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    (1..=253).contains(&text.len()) && text.bytes().all(fits) && !text.starts_with('.')
}

fn full(code: StatusCode, kind: &'static str, text: impl Into<Bytes>) -> Response<Outgoing> {
    answer(code, kind, Full::new(text.into()).boxed_unsync())
}

fn json_answer(code: StatusCode, value: &Value) -> Response<Outgoing> {
    full(code, "application/json", value.to_string())
}

fn answer(code: StatusCode, kind: &'static str, body: Outgoing) -> Response<Outgoing> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn protect(headers: &mut http::HeaderMap) {
    let all = [
        ("content-security-policy", POLICY),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        // A page of an older binary would not understand a newer one's stream.
        ("cache-control", "no-store"),
    ];
    for (name, value) in all {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
