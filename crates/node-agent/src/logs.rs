//! Answers log requests on loopback: `/containerLogs/NAMESPACE/POD/CONTAINER?follow=&tailLines=&previous=&timestamps=…`.
//!
//! Anybody on this machine may ask, as anybody on this machine may read what the processes do: this kind of node has no
//! isolation. Logs are files in CRI format: `2016-10-06T00:17:09.669794202Z stdout F text`.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use api_meta::ObjectKey;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::{Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::TokioIo;
use stdx::{Env, Time};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::agent::Directory;
use crate::error::Error;
use crate::runtime::{LogSource, PodRuntime};

/// Time between looks at a log that is followed.
const POLL: Duration = Duration::from_millis(200);
/// Most bytes read at once.
const READ_BYTES: usize = 64 << 10;

type Body = BoxBody<Bytes, Infallible>;

/// Opens the port and answers in the background until the agent has `ended`; returns the port.
pub(crate) async fn serve<R: PodRuntime>(
    env: &Env,
    address: SocketAddr,
    runtime: Arc<R>,
    directory: Directory,
    ended: impl Future<Output = ()> + Send + 'static,
) -> Result<u16, Error> {
    let failed = |source| Error::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let port = listener.local_addr().map_err(failed)?.port();
    let inner = env.clone();
    env.spawn("node logs", async move {
        let mut ended = std::pin::pin!(ended);
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut ended => return,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
                inner.sleep(POLL).await;
                continue;
            };
            let (runtime, directory, env) = (runtime.clone(), directory.clone(), inner.clone());
            inner.spawn("node log request", async move {
                let service =
                    hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
                        let answer = answer(&env, request.uri(), &runtime, &directory);
                        async move { Ok::<_, Infallible>(answer) }
                    });
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    Ok(port)
}

/// What is asked of a log.
#[derive(Clone, Debug, Default, PartialEq)]
struct Query {
    is_follow: bool,
    is_previous: bool,
    has_timestamps: bool,
    tail_lines: Option<usize>,
    since: Option<Time>,
    bytes_max: Option<usize>,
}

fn answer<R: PodRuntime>(
    env: &Env,
    uri: &http::Uri,
    runtime: &Arc<R>,
    directory: &Directory,
) -> Response<Body> {
    let parts: Vec<&str> = uri.path().split('/').skip(1).collect();
    let [_, namespace, pod, container] = parts[..] else {
        return plain(if uri.path() == "/healthz" { StatusCode::OK } else { StatusCode::NOT_FOUND }, "ok\n");
    };
    if parts[0] != "containerLogs" {
        return plain(StatusCode::NOT_FOUND, "no such path\n");
    }
    let query = match query(uri.query().unwrap_or(""), env.now()) {
        Ok(query) => query,
        Err(why) => return plain(StatusCode::BAD_REQUEST, &why),
    };
    let uid = directory.lock().expect("no holder panics").get(&ObjectKey::new(namespace, pod)).cloned();
    let source = uid.as_ref().and_then(|uid| runtime.logs(uid, container, query.is_previous));
    let (Some(uid), Some(source)) = (uid, source) else {
        let which = if query.is_previous { "previous terminated container" } else { "container" };
        let message = format!("{which} {container:?} in pod {pod:?} not found\n");
        return plain(StatusCode::BAD_REQUEST, &message);
    };
    let (sender, receiver) = mpsc::channel::<Bytes>(8);
    let (runtime, container) = (runtime.clone(), container.to_owned());
    let is_alive =
        move || runtime.logs(&uid, &container, query.is_previous).is_some_and(|source| source.is_alive);
    let poll = env.clone();
    let following = query.clone();
    env.spawn("node log reader", async move { read(source, following, is_alive, sender, poll).await });
    let chunks = stream::unfold(receiver, |mut r| async move { Some((r.recv().await?, r)) });
    let frames = chunks.map(|chunk| Ok::<_, Infallible>(Frame::data(chunk)));
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(frames.into_stream())));
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("text/plain"));
    response
}

fn plain(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(text.to_owned())).boxed());
    *response.status_mut() = status;
    response
}

fn query(text: &str, now: Time) -> Result<Query, String> {
    let mut out = Query::default();
    for (key, value) in text.split('&').filter_map(|pair| pair.split_once('=')) {
        let bad = || format!("invalid {key}: {value:?}\n");
        match key {
            "follow" => out.is_follow = value == "true" || value == "1",
            "previous" => out.is_previous = value == "true" || value == "1",
            "timestamps" => out.has_timestamps = value == "true" || value == "1",
            "tailLines" => out.tail_lines = Some(value.parse().map_err(|_| bad())?),
            "limitBytes" => out.bytes_max = Some(value.parse().map_err(|_| bad())?),
            "sinceSeconds" => {
                let secs: u64 = value.parse().map_err(|_| bad())?;
                out.since = Some(now - Duration::from_secs(secs));
            }
            "sinceTime" => {
                let time = value.replace("%3A", ":").replace("%3a", ":").replace("%2B", "+");
                out.since = Some(time.parse().map_err(|_| bad())?);
            }
            _ => {}
        }
    }
    Ok(out)
}

/// Sends the log, and what is added to it while it is followed.
async fn read(
    source: LogSource,
    query: Query,
    is_alive: impl Fn() -> bool,
    sender: mpsc::Sender<Bytes>,
    env: Env,
) {
    let mut budget = query.bytes_max.unwrap_or(usize::MAX);
    let (mut past, mut tail) = (Vec::new(), Tail::default());
    for path in &source.files {
        tail = Tail { path: path.clone(), inode: inode(path), ..Tail::default() };
        tail.file = tokio::fs::File::open(path).await.ok();
        past.extend(tail.more().await);
    }
    let lines = render(&past, &query);
    let from = query.tail_lines.map_or(0, |n| lines.len().saturating_sub(n));
    if !send(&sender, &lines[from..].concat(), &mut budget).await || !query.is_follow {
        return;
    }
    loop {
        // Asked before reading, so that what was written before the end is not missed.
        let may_grow = is_alive();
        let more = tail.more().await;
        if !send(&sender, &render(&more, &query).concat(), &mut budget).await {
            return;
        }
        if !may_grow {
            return;
        }
        tokio::select! {
            biased;
            () = sender.closed() => return,
            () = env.sleep(POLL) => {}
        }
    }
}

async fn send(sender: &mpsc::Sender<Bytes>, bytes: &[u8], budget: &mut usize) -> bool {
    let part = &bytes[..bytes.len().min(*budget)];
    *budget -= part.len();
    for chunk in part.chunks(READ_BYTES) {
        if sender.send(Bytes::copy_from_slice(chunk)).await.is_err() {
            return false;
        }
    }
    *budget > 0
}

/// Where reading a growing file has come to. The file stays open: its last lines can be read after it was removed.
#[derive(Default)]
struct Tail {
    path: PathBuf,
    file: Option<tokio::fs::File>,
    inode: u64,
    /// A line that has not ended yet.
    rest: Vec<u8>,
}

impl Tail {
    /// Whole lines added since.
    async fn more(&mut self) -> Vec<u8> {
        self.read().await;
        let now = inode(&self.path);
        if now != 0 && now != self.inode {
            // Rotated, or there at last: what follows is in the new file.
            self.file = tokio::fs::File::open(&self.path).await.ok();
            self.inode = now;
            self.read().await;
        }
        let end = self.rest.iter().rposition(|b| *b == b'\n').map_or(0, |p| p + 1);
        self.rest.drain(..end).collect()
    }

    async fn read(&mut self) {
        if let Some(file) = &mut self.file {
            // What cannot be read now may be read the next time.
            let _ = file.read_to_end(&mut self.rest).await;
        }
    }
}

fn inode(path: &std::path::Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(path).map_or(0, |m| m.ino())
}

/// Lines as they are answered; a line written in parts counts as one.
fn render(bytes: &[u8], query: &Query) -> Vec<Vec<u8>> {
    let mut out: Vec<Vec<u8>> = Vec::new();
    let mut is_open = false;
    for line in bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
        let mut parts = line.splitn(4, |b| *b == b' ');
        let (Some(at), Some(_), Some(tag), text) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let at = String::from_utf8_lossy(at);
        let is_old = query.since.is_some_and(|since| at.parse::<Time>().is_ok_and(|t| t < since));
        if is_old {
            continue;
        }
        if !is_open {
            let stamp = if query.has_timestamps { format!("{at} ").into_bytes() } else { Vec::new() };
            out.push(stamp);
        }
        let Some(last) = out.last_mut() else { continue };
        last.extend_from_slice(text.unwrap_or_default());
        is_open = tag == b"P";
        if !is_open {
            last.push(b'\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &[u8] = b"2026-11-20T10:00:00.000000000Z stdout F one\n\
        2026-11-20T10:00:01.000000000Z stdout P two \n\
        2026-11-20T10:00:01.000000000Z stdout F parts\n\
        2026-11-20T10:00:02.000000000Z stderr F \n\
        2026-11-20T10:00:03.000000000Z stderr F three\n";

    fn text(query: &Query) -> String {
        String::from_utf8(render(LOG, query).concat()).unwrap()
    }

    #[test]
    fn lines_in_parts_become_one() {
        assert_eq!(text(&Query::default()), "one\ntwo parts\n\nthree\n");
    }

    #[test]
    fn timestamps_and_since_are_honoured() {
        let query = query("timestamps=true&sinceTime=2026-11-20T10%3A00%3A02Z", Time::default()).unwrap();
        let expected = "2026-11-20T10:00:02.000000000Z \n2026-11-20T10:00:03.000000000Z three\n";
        assert_eq!(text(&query), expected);
    }

    #[test]
    fn a_query_that_is_none_is_refused() {
        assert!(query("tailLines=x", Time::default()).is_err());
        assert_eq!(query("follow=true&tailLines=5", Time::default()).unwrap().tail_lines, Some(5));
    }
}
