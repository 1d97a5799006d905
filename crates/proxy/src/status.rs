//! The proxy's own figures over HTTP, on loopback: `/metrics`, `/traffic`, `/healthz`, `/readyz`.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use api_meta::ObjectKey;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::config::Error;
use crate::plan::{Standing, Target};
use crate::traffic::{Drains, RATE_SECONDS, Traffic};
use crate::upstream::Upstream;

/// Readers at one time.
const READERS_MAX: usize = 32;
/// How long a reader may be silent.
const HEAD_READ_MAX: Duration = Duration::from_secs(30);

/// What is shown: rows that are replaced with each decision, counts that are read when asked for.
#[derive(Default)]
pub(crate) struct Board {
    services: RwLock<Arc<Vec<Row>>>,
    /// Drains of all Services.
    pub(crate) drains: Drains,
    synced: AtomicBool,
}

/// A Service.
pub(crate) struct Row {
    /// Its name.
    pub(crate) service: ObjectKey,
    /// What passed through it.
    pub(crate) traffic: Arc<Traffic>,
    /// Its endpoints, by port and address.
    pub(crate) endpoints: Vec<Shown>,
}

/// Name, kind, help, and how to read it.
type Figure<T> = (&'static str, &'static str, &'static str, fn(&T) -> u64);

const SERVICE_FIGURES: [Figure<Traffic>; 2] = [
    ("knarr_proxy_begun_total", "counter", "Requests, and connections of other ports.", |t| t.totals().0),
    (
        "knarr_proxy_failed_total",
        "counter",
        "Those that failed: codes from 500 on, answers broken off, connections without an endpoint.",
        |t| t.totals().1,
    ),
];

const ENDPOINT_FIGURES: [Figure<Upstream>; 3] = [
    ("knarr_proxy_endpoint_open", "gauge", "Open requests and connections.", |u| u.open() as u64),
    ("knarr_proxy_endpoint_requests_total", "counter", "Requests and connections begun.", Upstream::requests),
    ("knarr_proxy_endpoint_connects_total", "counter", "Connections made.", Upstream::connects),
];

/// An endpoint of a port.
pub(crate) struct Shown {
    /// Name of the port.
    pub(crate) port: String,
    /// What is known of it.
    pub(crate) target: Target,
    /// It is protected and on its way out.
    pub(crate) draining: bool,
    /// Its counts; none when it was never chosen.
    pub(crate) upstream: Option<Arc<Upstream>>,
}

impl Board {
    /// Replaces the rows. There are some only after everything was listed once.
    pub(crate) fn publish(&self, rows: Vec<Row>) {
        *self.services.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rows);
        self.synced.store(true, Ordering::Relaxed);
    }

    fn rows(&self) -> Arc<Vec<Row>> {
        self.services.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn answer(&self, path: &str) -> Option<(StatusCode, &'static str, String)> {
        const TEXT: &str = "text/plain; charset=utf-8";
        Some(match path {
            "/healthz" => (StatusCode::OK, TEXT, "ok\n".to_owned()),
            "/readyz" if self.synced.load(Ordering::Relaxed) => (StatusCode::OK, TEXT, "ok\n".to_owned()),
            "/readyz" => {
                let text = "Services, EndpointSlices and Pods have not been listed yet\n";
                (StatusCode::SERVICE_UNAVAILABLE, TEXT, text.to_owned())
            }
            "/traffic" => (StatusCode::OK, "application/json", self.traffic().to_string()),
            "/metrics" => (StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", self.metrics()),
            _ => return None,
        })
    }

    fn traffic(&self) -> Value {
        let rows = self.rows();
        let services: Vec<Value> = rows.iter().map(Row::json).collect();
        let (started, finished, _) = self.drains.totals();
        json!({"services": services, "drains": {"started": started, "finished": finished}})
    }

    fn metrics(&self) -> String {
        let rows = self.rows();
        let mut text = String::new();
        declare(&mut text, "knarr_proxy_requests_total", "counter", "Answers of HTTP ports by code.");
        for row in &*rows {
            for (code, count) in row.traffic.codes() {
                sample(
                    &mut text,
                    "knarr_proxy_requests_total",
                    &[&row.labels(), &format!("code=\"{code}\"")],
                    count,
                );
            }
        }
        for (name, kind, help, value) in SERVICE_FIGURES {
            declare(&mut text, name, kind, help);
            for row in &*rows {
                sample(&mut text, name, &[&row.labels()], value(&row.traffic));
            }
        }
        for (name, kind, help, value) in ENDPOINT_FIGURES {
            declare(&mut text, name, kind, help);
            for row in &*rows {
                for shown in &row.endpoints {
                    let Some(upstream) = &shown.upstream else { continue };
                    sample(&mut text, name, &[&row.labels(), &shown.labels()], value(upstream));
                }
            }
        }
        self.drain_metrics(&mut text);
        text
    }

    fn drain_metrics(&self, text: &mut String) {
        let (started, finished, length) = self.drains.totals();
        declare(
            text,
            "knarr_proxy_drains_started_total",
            "counter",
            "Protected endpoints not chosen any more.",
        );
        sample(text, "knarr_proxy_drains_started_total", &[], started);
        declare(text, "knarr_proxy_drains_finished_total", "counter", "Finalizers taken off.");
        sample(text, "knarr_proxy_drains_finished_total", &[], finished);
        declare(
            text,
            "knarr_proxy_drain_seconds",
            "summary",
            "From not chosen any more to the finalizer off.",
        );
        sample(text, "knarr_proxy_drain_seconds_sum", &[], length.as_secs_f64());
        sample(text, "knarr_proxy_drain_seconds_count", &[], finished);
    }
}

impl Row {
    fn labels(&self) -> String {
        format!("namespace=\"{}\",service=\"{}\"", self.service.namespace, self.service.name)
    }

    fn json(&self) -> Value {
        let (requests, failed) = self.traffic.totals();
        let rate = |seconds| (self.traffic.rate(seconds) * 10.0).round() / 10.0;
        let endpoints: Vec<Value> = self.endpoints.iter().map(Shown::json).collect();
        json!({
            "namespace": self.service.namespace, "name": self.service.name,
            "totals": {
                "requests": requests, "failed": failed,
                "rps1s": rate(RATE_SECONDS[0]), "rps5s": rate(RATE_SECONDS[1]),
            },
            "endpoints": endpoints,
        })
    }
}

impl Shown {
    fn labels(&self) -> String {
        format!("pod=\"{}\",endpoint=\"{}\"", self.target.pod.0, self.target.address)
    }

    fn json(&self) -> Value {
        let target = &self.target;
        json!({
            "port": self.port, "pod": target.pod.0, "ip": target.address.ip(), "targetPort": target.address.port(),
            "node": target.node, "cell": target.cell,
            "open": self.upstream.as_ref().map_or(0, |u| u.open()),
            "requests": self.upstream.as_ref().map_or(0, |u| u.requests()),
            "ready": target.standing == Standing::Ready, "draining": self.draining,
        })
    }
}

fn declare(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// Names of Kubernetes objects and addresses need no escaping in labels.
fn sample(text: &mut String, name: &str, labels: &[&str], value: impl std::fmt::Display) {
    let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
    let _ = writeln!(text, "{name}{labels} {value}");
}

/// Listens for readers.
pub(crate) fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    let SocketAddr::V4(local) = address else { return Err(Error::StatusNotLocal(address)) };
    if !local.ip().is_loopback() {
        return Err(Error::StatusNotLocal(address));
    }
    crate::listen::bind(SocketAddrV4::new(*local.ip(), local.port()))
        .map_err(|source| Error::Status { address, source })
}

/// Answers readers until it is dropped.
pub(crate) async fn serve(listener: TcpListener, board: Arc<Board>) {
    let room = Arc::new(Semaphore::new(READERS_MAX));
    while let Ok(permit) = room.clone().acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        let board = board.clone();
        tokio::spawn(async move {
            let service =
                service_fn(|request| std::future::ready(Ok::<_, Infallible>(respond(&board, &request))));
            let mut builder = hyper::server::conn::http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(HEAD_READ_MAX);
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            drop(permit);
        });
    }
}

fn respond(board: &Board, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let found = matches!(*request.method(), Method::GET | Method::HEAD);
    let found = found.then(|| board.answer(request.uri().path())).flatten();
    let (code, kind, text) = found.unwrap_or_else(|| {
        (
            StatusCode::NOT_FOUND,
            "text/plain; charset=utf-8",
            "served here: /metrics /traffic /healthz /readyz\n".to_owned(),
        )
    });
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
