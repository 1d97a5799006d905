//! WATCH: what is there, then everything that happens to it, in the order of revisions, without gaps.
//!
//! ```text
//! initial events (one snapshot) -> [end-of-list bookmark] -> cursor over the event log, bookmarks between
//!                                                              | selector transitions: modified -> added, deleted
//!                                                              | history gone -> ERROR 410 and the end
//! ```
//!
//! The stream is pulled: a client that reads slowly holds a cursor, never a queue.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use api_client::Response;
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};
use stdx::{BoxFuture, Time};
use store::{Cursor, Error, Event, Revision, Stored};

use super::get::wait_for;
use super::list::{Filter, check_options, range, streamed};
use crate::answer;
use crate::metrics;
use crate::net::Peer;
use crate::pipeline::{commit, convert};
use crate::refuse::{self, Outcome, expired};
use crate::registry::Served;
use crate::represent::{self, Place, View};
use crate::request::{As, Form};
use crate::server::{ApiServer, Call, Departure};
use crate::stored;

/// Between two bookmarks.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// A watch without a timeout of its own ends after this and at most twice as long.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30 * 60);
/// Initial objects that are encoded at one time.
const INITIAL_CHUNK: usize = 200;

/// GET with `watch`.
pub(crate) async fn watch(call: &Call, served: &Arc<Served>) -> Outcome<Response> {
    let accept = call.accepted()?.for_watch()?;
    let filter = Filter::of(call, served)?;
    let timeout = call.query.number("timeoutSeconds")?;
    check_options(call, true)?;
    let start = start(call)?;
    let view = View::of(call, served, accept)?;
    let mut stream = Stream::new(call, view, filter, timeout);
    if let Err(refusal) = stream.open(call, served, start).await? {
        stream.fail(&refusal);
    }
    let media_type = match accept.form {
        Form::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
        _ => "application/json",
    };
    let mut response = answer::full(200, media_type, Bytes::new());
    *response.body_mut() =
        streamed(stream::unfold(stream, |mut s| async move { s.next().await.map(|b| (b, s)) }));
    Ok(response)
}

/// Where a watch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// With what is there, at least as new as this.
    Initial(Revision),
    /// With what happens after this.
    After(Revision),
}

fn start(call: &Call) -> Outcome<Start> {
    let text = call.query.get("resourceVersion");
    let asked: u64 = if text.is_empty() { 0 } else { text.parse().map_err(|_| bad_version(text))? };
    Ok(match call.query.optional_flag("sendInitialEvents") {
        Some(true) => Start::Initial(Revision(asked)),
        Some(false) if asked == 0 => Start::After(call.server.store.revision()),
        _ if asked == 0 => Start::Initial(Revision(0)),
        _ => Start::After(Revision(asked)),
    })
}

/// Upstream answers 500 here, without a reason.
fn bad_version(text: &str) -> Box<refuse::Refusal> {
    let message = format!(
        "resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
    );
    api_meta::Status { status: "Failure".to_owned(), message, code: 500, ..Default::default() }.into()
}

/// One watch.
struct Stream {
    server: Arc<ApiServer>,
    view: View,
    filter: Filter,
    wants_bookmarks: bool,
    wants_end_mark: bool,
    /// Objects of the snapshot that are still to be sent.
    initial: VecDeque<Arc<Stored>>,
    initial_at: Revision,
    cursor: Option<Cursor>,
    /// Bytes to send before anything else.
    ready: Option<Bytes>,
    ends: BoxFuture<()>,
    /// The resource is served otherwise, or no more.
    replaced: BoxFuture<()>,
    bookmark: BoxFuture<()>,
    columns_sent: bool,
    is_over: bool,
    /// Where it is counted.
    watched: Arc<metrics::Watched>,
    /// When it began, if its client is beyond this process: then its deliveries are timed.
    timed_from: Option<Time>,
    /// Tells when the server goes; likewise.
    departure: Option<tokio::sync::watch::Receiver<Departure>>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.server.metrics.watches.fetch_sub(1, Ordering::Relaxed);
        self.watched.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Stream {
    fn new(call: &Call, view: View, filter: Filter, timeout: Option<i64>) -> Stream {
        let server = call.server.clone();
        server.metrics.watches.fetch_add(1, Ordering::Relaxed);
        let watched = server.metrics.watched(&view.served.resource);
        watched.open.fetch_add(1, Ordering::Relaxed);
        let env = &server.env;
        let seconds = timeout.and_then(|t| u64::try_from(t).ok()).filter(|t| *t > 0);
        let length = seconds.map_or_else(
            || TIMEOUT_DEFAULT + Duration::from_secs(env.rng.next_u64() % TIMEOUT_DEFAULT.as_secs()),
            Duration::from_secs,
        );
        let wants_bookmarks = call.query.flag("allowWatchBookmarks");
        // Built-in kinds stay as they are.
        let life = Some(&view.served).filter(|s| s.is_custom()).map(|s| s.life.clone());
        Stream {
            ends: env.sleep(length),
            replaced: Box::pin(async move {
                match life {
                    Some(life) => life.ended().await,
                    None => std::future::pending().await,
                }
            }),
            bookmark: env.sleep(BOOKMARK_EVERY),
            wants_bookmarks,
            wants_end_mark: wants_bookmarks && call.query.flag("sendInitialEvents"),
            initial: VecDeque::new(),
            initial_at: Revision(0),
            cursor: None,
            ready: None,
            columns_sent: false,
            is_over: false,
            watched,
            timed_from: call.head.extensions.get::<Peer>().map(|_| env.now()),
            departure: call.head.extensions.get::<Peer>().map(|_| server.departure()),
            view,
            filter,
            server,
        }
    }

    /// Finds the start. The inner refusal is sent as an event, the outer one as the answer.
    async fn open(&mut self, call: &Call, served: &Served, start: Start) -> Outcome<Outcome<()>> {
        let range = range(call, served);
        let store = &self.server.store;
        let from = match start {
            Start::After(revision) => revision,
            Start::Initial(at_least) => {
                wait_for(call, at_least).await?;
                let page = store.list(&range, None, None, 0, None).map_err(|e| commit::failed(&e))?;
                let filter = &self.filter;
                self.initial = page.items.into_iter().filter(|s| filter.matches(s)).collect();
                self.initial_at = page.revision;
                page.revision
            }
        };
        let cursor = match self.filter.interest() {
            Some((field, value)) => store.watch_touching(range, field, value, from),
            None => store.watch(range, from),
        };
        match cursor {
            Ok(cursor) => self.cursor = Some(cursor),
            Err(Error::Compacted { oldest }) => return Ok(Err(too_old(from, oldest))),
            Err(error) => return Err(commit::failed(&error)),
        }
        Ok(Ok(()))
    }

    /// The next bytes; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(ready) = self.ready.take() {
                return Some(ready);
            }
            if self.is_over {
                return None;
            }
            if let Err(refusal) = self.step().await {
                self.fail(&refusal);
            }
        }
    }

    async fn step(&mut self) -> Outcome<()> {
        if !self.initial.is_empty() {
            return self.send_initial().await;
        }
        if std::mem::take(&mut self.wants_end_mark) {
            self.send_bookmark(self.initial_at, true);
            return Ok(());
        }
        let Some(cursor) = &mut self.cursor else {
            self.is_over = true;
            return Ok(());
        };
        tokio::select! {
            biased;
            // First: where much is written, there would be no end. What is not sent is seen by who goes on from here.
            () = leaving(&mut self.departure) => {
                self.is_over = true;
                self.send_progress();
                Ok(())
            }
            events = cursor.next() => match events {
                Ok(events) => self.send(&events).await,
                Err(Error::Compacted { oldest }) => Err(too_old(cursor.position(), oldest)),
                Err(_) => {
                    self.is_over = true;
                    Ok(())
                }
            },
            () = &mut self.ends => {
                self.is_over = true;
                self.send_progress();
                Ok(())
            }
            // After the events: those of the objects that went with their definition were told.
            () = &mut self.replaced => {
                self.is_over = true;
                Ok(())
            }
            () = &mut self.bookmark => {
                self.bookmark = self.server.env.sleep(BOOKMARK_EVERY);
                // A cursor that follows little was not woken by the rest, which it has passed nevertheless.
                match cursor.try_next() {
                    Ok(events) if events.is_empty() => {
                        self.send_progress();
                        Ok(())
                    }
                    Ok(events) => self.send(&events).await,
                    Err(Error::Compacted { oldest }) => Err(too_old(cursor.position(), oldest)),
                    Err(_) => Ok(()),
                }
            }
        }
    }

    async fn send_initial(&mut self) -> Outcome<()> {
        let mut out = Chunk::default();
        for _ in 0..INITIAL_CHUNK {
            let Some(object) = self.initial.pop_front() else { break };
            self.write(&mut out, "ADDED", &object, object.revision).await?;
        }
        self.ready = Some(out.into());
        Ok(())
    }

    async fn send(&mut self, events: &[Arc<Event>]) -> Outcome<()> {
        let mut out = Chunk::default();
        let (mut oldest, mut count) = (None, 0);
        for event in events {
            if let Some((kind, object)) = transition(&self.filter, event) {
                let object = object.clone();
                self.write(&mut out, kind, &object, event.revision).await?;
                oldest.get_or_insert(event.revision);
                count += 1;
            }
        }
        self.ready = oldest.map(|oldest| self.timed(out.into(), count, oldest));
        Ok(())
    }

    /// Lets the delivery of these events be timed by the oldest of them; what is older than the watch itself, from its beginning.
    fn timed(&self, out: Bytes, events: u64, oldest: Revision) -> Bytes {
        let durable = self.timed_from.and_then(|from| Some(self.server.store.durable_at(oldest)?.max(from)));
        match durable {
            Some(durable) => metrics::timed(&self.server, out, events, durable),
            None => out,
        }
    }

    async fn write(
        &mut self,
        out: &mut Chunk,
        kind: &'static str,
        object: &Stored,
        revision: Revision,
    ) -> Outcome<()> {
        self.watched.events.fetch_add(1, Ordering::Relaxed);
        out.push(if self.view.form == Form::Protobuf {
            self.frame(kind, object, revision).await?
        } else {
            self.line(kind, object, revision).await?
        });
        Ok(())
    }

    /// An event as this watch shows it. Where others watch too, those of whole objects are the same for all of them, so they are made
    /// once.
    async fn line(&mut self, kind: &'static str, object: &Stored, revision: Revision) -> Outcome<Bytes> {
        let server = self.server.clone();
        let is_common = self.view.shape == As::Object && server.metrics.watches.load(Ordering::Relaxed) > 1;
        let key = is_common.then(|| represent::EncodedKey::of(&self.view, kind, object.revision, revision));
        if let Some(made) = key.as_ref().and_then(|key| server.encoded_json.get(key)) {
            return Ok(made);
        }
        let plain = convert::plain(&self.view.served, stored::unpack(object)?).await?;
        let mut made = Vec::with_capacity(plain.len() + 160);
        made.extend_from_slice(b"{\"type\":\"");
        made.extend_from_slice(kind.as_bytes());
        made.extend_from_slice(b"\",\"object\":");
        let headers = !std::mem::replace(&mut self.columns_sent, true);
        self.view.write(&mut made, &plain, revision, Place::Alone, headers)?;
        made.extend_from_slice(b"}\n");
        let made = Bytes::from(made);
        if let Some(key) = key {
            server.encoded_json.keep(key, made.clone());
        }
        Ok(made)
    }

    /// The same in protobuf. Who else watches the kind gets the same bytes, so they are made once.
    async fn frame(&mut self, kind: &str, object: &Stored, revision: Revision) -> Outcome<Bytes> {
        let encoded = &self.server.encoded;
        // The kind of the event stands outside of what is kept.
        let key = represent::EncodedKey::of(&self.view, "", object.revision, revision);
        let sealed = match encoded.get(&key) {
            Some(sealed) => sealed,
            None => {
                let plain = convert::plain(&self.view.served, stored::unpack(object)?).await?;
                let sealed = represent::protobuf::object(&self.view, &plain, revision)?;
                encoded.keep(key, sealed.clone());
                sealed
            }
        };
        let mut out = Vec::with_capacity(sealed.len() + 32);
        api_schema::proto::frame(&mut out, kind, &sealed);
        Ok(out.into())
    }

    /// Says how far the stream is, if the client wants to know.
    fn send_progress(&mut self) {
        let Some(cursor) = &self.cursor else { return };
        if self.wants_bookmarks && self.initial.is_empty() {
            let at = cursor.position().max(self.initial_at);
            self.send_bookmark(at, false);
        }
    }

    fn send_bookmark(&mut self, at: Revision, ends_initial: bool) {
        let mut metadata = json!({"resourceVersion": at.to_string(), "creationTimestamp": null});
        if ends_initial {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let (api_version, kind) = self.view.kind();
        let mut object = json!({"kind": kind, "apiVersion": api_version, "metadata": metadata});
        if let As::Table(_) = self.view.shape {
            object["columnDefinitions"] = Value::Null;
            object["rows"] = json!([]);
        }
        self.ready = Some(self.event("BOOKMARK", &object));
    }

    /// An event about something that is no stored object.
    fn event(&self, kind: &str, object: &Value) -> Bytes {
        if self.view.form != Form::Protobuf {
            return format!("{}\n", json!({"type": kind, "object": object})).into();
        }
        let mut out = Vec::new();
        let sealed = represent::protobuf::tree(object).unwrap_or_default();
        api_schema::proto::frame(&mut out, kind, &sealed);
        out.into()
    }

    /// The last event of a watch that cannot go on.
    fn fail(&mut self, refusal: &refuse::Refusal) {
        self.is_over = true;
        self.ready = Some(self.event("ERROR", &refuse::tree(&refusal.status, None)));
    }
}

/// Returns when the server goes; never for those who are part of its process.
async fn leaving(departure: &mut Option<tokio::sync::watch::Receiver<Departure>>) {
    match departure {
        Some(departure) => drop(departure.wait_for(|at| *at == Departure::Leaving).await),
        None => std::future::pending().await,
    }
}

/// Events that are sent at once. One alone is not copied: where many watch, all of them send the same bytes.
#[derive(Default)]
struct Chunk {
    only: Option<Bytes>,
    several: Vec<u8>,
}

impl Chunk {
    fn push(&mut self, event: Bytes) {
        if self.only.is_none() && self.several.is_empty() {
            self.only = Some(event);
            return;
        }
        if let Some(first) = self.only.take() {
            self.several.extend_from_slice(&first);
        }
        self.several.extend_from_slice(&event);
    }
}

impl From<Chunk> for Bytes {
    fn from(chunk: Chunk) -> Bytes {
        chunk.only.unwrap_or_else(|| chunk.several.into())
    }
}

fn too_old(asked: Revision, oldest: Revision) -> Box<refuse::Refusal> {
    expired(format!("too old resource version: {asked} ({oldest})"))
}

/// What an event is to a watcher that sees only what matches; an object that stops to match is shown as it was.
fn transition<'a>(filter: &Filter, event: &'a Event) -> Option<(&'static str, &'a Arc<Stored>)> {
    let was = event.before.as_ref().filter(|b| filter.matches(b));
    if event.is_delete {
        return was.map(|_| ("DELETED", &event.after));
    }
    match (was, filter.matches(&event.after)) {
        (Some(_), true) => Some(("MODIFIED", &event.after)),
        (Some(before), false) => Some(("DELETED", before)),
        (None, true) => Some(("ADDED", &event.after)),
        (None, false) => None,
    }
}
