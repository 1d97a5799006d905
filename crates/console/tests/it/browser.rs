//! A board that is served, and what asks it: one connection for each request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use console::{Config, Console, Limits, Token};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use stdx::{Clock, Env, Time};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::world::World;

pub(crate) const TOKEN: &str = "0123456789abcdef-test";
/// A test that waits so long for something waits in vain.
const PATIENCE: Duration = Duration::from_secs(60);

/// A clock that a test moves.
pub(crate) struct Hands(AtomicI64);

impl Clock for Hands {
    fn now(&self) -> Time {
        Time::from_micros(self.0.load(Ordering::Relaxed))
    }
}

impl Hands {
    pub(crate) fn forward(&self, length: Duration) {
        self.0.fetch_add(i64::try_from(length.as_micros()).unwrap(), Ordering::Relaxed);
    }
}

/// A board in front of a server.
pub(crate) struct Site {
    pub(crate) world: World,
    pub(crate) address: SocketAddr,
    pub(crate) clock: Arc<Hands>,
    _stop: watch::Sender<bool>,
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }
}

impl Site {
    pub(crate) async fn new() -> Site {
        Site::with(|_| {}).await
    }

    /// A board with another configuration.
    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Site {
        let clock = Arc::new(Hands(AtomicI64::new(1_800_000_000_000_000)));
        let env = Env { clock: clock.clone(), ..os::env() };
        let world = World::new(env.clone()).await;
        let mut config = Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            token: Token::new(TOKEN).unwrap(),
            allowed_hosts: vec!["board.example".to_owned()],
            traffic: None,
            limits: Limits {
                debounce: Duration::from_millis(5),
                traffic: Duration::from_millis(10),
                ..Limits::default()
            },
        };
        change(&mut config);
        let console = Console::bind(config).await.unwrap();
        let address = console.address();
        assert_eq!(console.link(), format!("http://{address}/?token={TOKEN}"));
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(console.serve(world.client.clone(), env, stopped));
        Site { world, address, clock, _stop: stop }
    }

    /// Sends a request with exactly these headers.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> http::Response<Incoming> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = headers
            .iter()
            .fold(http::Request::builder().method(method).uri(path), |r, (k, v)| r.header(*k, *v));
        sender.send_request(request.body(Full::new(Bytes::from(body.to_owned()))).unwrap()).await.unwrap()
    }

    /// The same, with the whole answer.
    pub(crate) async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let (head, incoming) = self.send(method, path, headers, body).await.into_parts();
        let bytes = incoming.collect().await.unwrap().to_bytes();
        Answer {
            code: head.status.as_u16(),
            headers: head.headers,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    /// A call by a program that knows the token.
    pub(crate) async fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        let host = self.address.to_string();
        self.ask(method, path, &[("host", &host), ("authorization", &format!("Bearer {TOKEN}"))], body).await
    }

    /// Opens a stream.
    pub(crate) async fn stream(&self) -> Stream {
        let host = self.address.to_string();
        let headers = [("host", host.as_str()), ("authorization", &format!("Bearer {TOKEN}"))];
        let response = self.send("GET", "/api/events", &headers, "").await;
        Stream { code: response.status().as_u16(), body: response.into_body(), rest: String::new() }
    }
}

/// Server-sent events as they come.
pub(crate) struct Stream {
    pub(crate) code: u16,
    body: Incoming,
    rest: String,
}

/// One event.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) retry: bool,
    pub(crate) data: Value,
}

impl Stream {
    /// The next event; none when the stream has ended.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((block, rest)) = self.rest.split_once("\n\n") {
                let event = parse(block);
                self.rest = rest.to_owned();
                match event {
                    Some(event) => return Some(event),
                    None => continue,
                }
            }
            let frame =
                tokio::time::timeout(PATIENCE, self.body.frame()).await.expect("nothing comes any more");
            let frame = frame?.ok()?;
            self.rest.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        }
    }

    /// Reads on until an event satisfies; that event.
    pub(crate) async fn until(&mut self, is: impl Fn(&Event) -> bool) -> Event {
        loop {
            let event = self.next().await.expect("the stream goes on");
            if is(&event) {
                return event;
            }
        }
    }
}

fn parse(block: &str) -> Option<Event> {
    let field = |name: &str| block.lines().find_map(|l| l.strip_prefix(name));
    Some(Event {
        id: field("id: ")?.parse().unwrap(),
        name: field("event: ")?.to_owned(),
        retry: field("retry: ").is_some(),
        data: serde_json::from_str(field("data: ")?).unwrap(),
    })
}
