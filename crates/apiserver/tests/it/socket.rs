//! The server behind its socket: departure, certificates that change, requests that are refused before anybody knows whose they are.

use std::sync::Arc;
use std::time::Duration;

use apiserver::auth::Authenticator;
use apiserver::{AuditLog, User, net};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::fixture::{MAPS, World, config_map, version};

/// A certificate for 127.0.0.1 that nobody but its holder signed.
fn tls() -> (net::Tls, CertificateDer<'static>) {
    let key = rcgen::KeyPair::generate().unwrap();
    let names = vec!["127.0.0.1".to_owned()];
    let made = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    let der = made.der().clone();
    let tls = net::Tls {
        chain: vec![der.clone()],
        key: PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        client_authorities: vec![der.clone()],
    };
    (tls, der)
}

/// A listening server.
struct Listening {
    w: World,
    address: std::net::SocketAddr,
    keys: Arc<net::Keys>,
    shown: CertificateDer<'static>,
    stop: watch::Sender<bool>,
    served: JoinHandle<()>,
}

impl Listening {
    async fn start(limits: net::Limits) -> Listening {
        let w = World::new().await;
        let (tls, shown) = tls();
        let keys = Arc::new(net::Keys::new(tls).unwrap());
        let mut who = Authenticator::new();
        who.add("good", User::new("admin", &["system:masters"]));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (to, refuses) = (w.server.clone(), w.server.clone());
        let service = net::Service {
            handler: Arc::new(move |user, request| to.handle(user, request)),
            refuse: Some(Arc::new(move |user, request, status| refuses.refuse(user, request, status))),
        };
        let (stop, stopped) = watch::channel(false);
        let serve = net::serve_with(listener, keys.clone(), Arc::new(who), service, limits, stopped);
        Listening { w, address, keys, shown, stop, served: tokio::spawn(serve) }
    }

    async fn connect(&self) -> Connection {
        self.try_connect(self.shown.clone()).await.unwrap()
    }

    async fn try_connect(&self, trusted: CertificateDer<'static>) -> std::io::Result<Connection> {
        let stream = tokio::net::TcpStream::connect(self.address).await?;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(trusted).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let name = rustls::pki_types::ServerName::try_from("127.0.0.1").unwrap();
        let stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(std::io::Error::other)?;
        let ended = tokio::spawn(async move { drop(connection.await) });
        Ok(Connection { sender, ended })
    }
}

/// A connection of a client.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    ended: JoinHandle<()>,
}

type Answer = http::Response<hyper::body::Incoming>;

impl Connection {
    async fn send(&mut self, method: &str, path: &str, token: &str, body: Bytes) -> hyper::Result<Answer> {
        let request = http::Request::builder().method(method).uri(format!("https://127.0.0.1{path}"));
        let request = request.header("authorization", format!("Bearer {token}"));
        let request = request.header("content-type", "application/json");
        self.sender.send_request(request.body(Full::new(body)).unwrap()).await
    }

    async fn get(&mut self, path: &str) -> (u16, String) {
        let answer = self.send("GET", path, "good", Bytes::new()).await.unwrap();
        (answer.status().as_u16(), text(answer).await)
    }
}

async fn text(answer: Answer) -> String {
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The next events of a watch, until there are so many.
async fn events(body: &mut hyper::body::Incoming, count: usize) -> Vec<Value> {
    let mut text = String::new();
    while text.lines().count() < count {
        let Some(frame) = body.frame().await else { break };
        text.push_str(std::str::from_utf8(&frame.unwrap().into_data().unwrap()).unwrap());
    }
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_server_that_goes_is_first_not_ready_and_then_ends_watches_where_their_clients_can_go_on() {
    let s = Listening::start(net::Limits::default()).await;
    let mut c = s.connect().await;
    assert_eq!(c.get("/readyz").await, (200, "ok".to_owned()));
    let from = s.w.revision();
    let path = format!("{MAPS}?watch=1&allowWatchBookmarks=true&resourceVersion={from}");
    let mut watch = c.send("GET", &path, "good", Bytes::new()).await.unwrap().into_body();

    s.w.server.announce_departure();
    let (code, why) = c.get("/readyz").await;
    assert_eq!(code, 500);
    assert!(
        why.contains("[-]shutdown failed: reason withheld\n") && why.ends_with("readyz check failed\n"),
        "{why}"
    );
    assert_eq!(c.get("/livez").await.0, 200, "it is well all the same");
    s.w.post(MAPS, config_map("a", "1")).await.created();
    let seen = events(&mut watch, 1).await;
    assert_eq!(
        (seen[0]["type"].clone(), seen[0]["object"]["metadata"]["name"].clone()),
        (json!("ADDED"), json!("a"))
    );

    // Asked before the end, answered after it: it waits for a version that comes later.
    let future = s.w.revision() + 1;
    let mut late = s.connect().await;
    let waits = format!("{MAPS}?resourceVersion={future}&resourceVersionMatch=NotOlderThan");
    let under_way = tokio::spawn(async move { late.get(&waits).await.0 });
    while !s
        .w
        .get("/metrics")
        .await
        .text
        .contains("apiserver_current_inflight_requests{request_kind=\"readOnly\"} 2")
    {
        tokio::task::yield_now().await;
    }
    s.w.server.end_watches();
    s.stop.send(true).unwrap();
    let end = events(&mut watch, usize::MAX).await;
    assert_eq!((end.len(), end[0]["type"].clone()), (1, json!("BOOKMARK")));
    // GOAWAY: the connection ends by itself, and nothing new is taken on it.
    c.ended.await.unwrap();
    assert!(c.sender.send_request(http::Request::new(Full::new(Bytes::new()))).await.is_err());
    s.w.post(MAPS, config_map("b", "1")).await.created();
    assert_eq!(under_way.await.unwrap(), 200, "what was under way is answered");
    s.served.await.unwrap();
    assert!(
        tokio::net::TcpStream::connect(s.address).await.is_err(),
        "nobody waits for a server that is gone"
    );
    // Who goes on from the bookmark misses nothing and sees nothing twice.
    let mut on = s.w.watch(&format!("{MAPS}?watch=1&resourceVersion={}", version(&end[0]["object"]))).await;
    assert_eq!(on.take(1).await, ["ADDED b"]);
}

#[tokio::test]
async fn a_request_that_never_ends_holds_up_a_server_that_goes_for_so_long_and_no_longer() {
    let limits = net::Limits { drain: Duration::from_millis(50), ..net::Limits::default() };
    let s = Listening::start(limits).await;
    let mut c = s.connect().await;
    let watch = c.send("GET", &format!("{MAPS}?watch=1"), "good", Bytes::new()).await.unwrap();
    // Nobody has ended the watches.
    s.stop.send(true).unwrap();
    s.served.await.unwrap();
    drop(watch);
}

#[tokio::test]
async fn certificates_are_replaced_while_connections_go_on() {
    let s = Listening::start(net::Limits::default()).await;
    let mut before = s.connect().await;
    let (next, shown) = tls();
    s.keys.replace(next).unwrap();
    assert!(s.try_connect(s.shown.clone()).await.is_err(), "the former certificate is not shown any more");
    let mut after = s.try_connect(shown.clone()).await.unwrap();
    assert_eq!((before.get("/livez").await.0, after.get("/livez").await.0), (200, 200));
    let (mut broken, _) = tls();
    broken.key = tls().0.key;
    assert!(s.keys.replace(broken).is_err(), "a key of another certificate");
    assert!(s.try_connect(shown).await.is_ok());
}

#[tokio::test]
async fn what_is_refused_at_the_door_is_counted_and_told_to_the_audit_log() {
    let file = std::env::temp_dir().join(format!("apiserver-socket-audit-{}", std::process::id()));
    let _ = std::fs::remove_file(&file);
    let limits = net::Limits { body_bytes: 1_000, ..net::Limits::default() };
    let s = Listening::start(limits).await;
    s.w.server.audit_to(AuditLog::open(&file).unwrap());
    let mut c = s.connect().await;
    let wrong = c.send("GET", MAPS, "bad", Bytes::new()).await.unwrap();
    assert_eq!((wrong.status().as_u16(), wrong.headers().contains_key("audit-id")), (401, true));
    let status: Value = serde_json::from_str(&text(wrong).await).unwrap();
    assert_eq!(
        (status["message"].clone(), status["reason"].clone()),
        (json!("Unauthorized"), json!("Unauthorized"))
    );
    let long = c.send("POST", MAPS, "good", Bytes::from(vec![b' '; 1_001])).await.unwrap();
    assert_eq!(long.status(), 413);
    let path = format!("{MAPS}?watch=1");
    let watch = c.send("GET", &path, "good", Bytes::new()).await.unwrap();
    drop(watch);
    let read = || -> Vec<Value> {
        let text = std::fs::read_to_string(&file).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    while read().len() < 4 {
        tokio::task::yield_now().await;
    }
    let told = read();
    let of = |i: usize| (told[i]["stage"].clone(), told[i]["responseStatus"]["code"].clone());
    assert_eq!(of(0), (json!("ResponseComplete"), json!(401)));
    assert_eq!(told[0]["responseStatus"]["reason"], "Unauthorized");
    assert_eq!(told[0]["user"], json!({}));
    assert!(told[0]["annotations"].is_null() && told[0]["sourceIPs"][0] == "127.0.0.1", "{}", told[0]);
    assert_eq!(told[0]["objectRef"]["resource"], "configmaps");
    assert_eq!(of(1), (json!("ResponseComplete"), json!(413)));
    assert_eq!(told[1]["user"]["username"], "admin");
    assert_eq!(
        (of(2), of(3)),
        ((json!("ResponseStarted"), json!(200)), (json!("ResponseComplete"), json!(200)))
    );
    assert_eq!(told[2]["auditID"], told[3]["auditID"]);
    let metrics = s.w.get("/metrics").await.text;
    assert!(metrics.contains("authentication_attempts{result=\"failure\"} 1\n"), "{metrics}");
    assert!(metrics.lines().any(|l| l.starts_with("apiserver_request_total{code=\"401\"")), "{metrics}");
    assert!(metrics.contains("apiserver_audit_event_total 4\n"), "{metrics}");
    std::fs::remove_file(file).unwrap();
}

#[tokio::test]
async fn deliveries_to_a_socket_are_timed_from_the_moment_they_were_durable() {
    let s = Listening::start(net::Limits::default()).await;
    let mut c = s.connect().await;
    let mut watch =
        c.send("GET", &format!("{MAPS}?watch=1"), "good", Bytes::new()).await.unwrap().into_body();
    for n in 0..3 {
        s.w.post(MAPS, config_map(&format!("m{n}"), "1")).await.created();
    }
    assert_eq!(events(&mut watch, 3).await.len(), 3);
    const NAME: &str = "knarr_apiserver_watch_delivery_duration_seconds";
    while !s.w.get("/metrics").await.text.contains(&format!("{NAME}_count 3\n")) {
        tokio::task::yield_now().await;
    }
    let metrics = s.w.get("/metrics").await.text;
    assert!(metrics.contains(&format!("{NAME}_bucket{{le=\"60\"}} 3\n")), "{metrics}");
}
