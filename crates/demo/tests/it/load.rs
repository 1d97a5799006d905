//! What the load counts, and that it never waits for answers.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use demo::load::{Args, End, Failure, FailureKind, Line, Tick, drive};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Barrier;

type Answer = http::Response<Full<Bytes>>;

/// Everything a load said.
#[derive(Default)]
struct Said {
    ticks: Vec<Tick>,
    failures: Vec<Failure>,
    end: End,
}

impl Said {
    fn kinds(&self) -> Vec<FailureKind> {
        let mut kinds: Vec<FailureKind> = self.failures.iter().map(|f| f.kind).collect();
        kinds.dedup();
        kinds
    }
}

fn args(address: SocketAddr) -> Args {
    Args {
        url: format!("http://{address}/").parse().unwrap(),
        rate: 1000.0,
        connections: 2,
        connections_max: 64,
        seconds: Some(0.05),
        timeout_ms: 2000,
        tick_ms: 10,
        events: "-".into(),
    }
}

async fn load(args: Args) -> Said {
    let mut said = Said::default();
    let taken = &mut said;
    let sink = move |lines: &[Line]| {
        for line in lines.iter().cloned() {
            match line {
                Line::Start(_) => {}
                Line::Tick(tick) => taken.ticks.push(tick),
                Line::Failure(failure) => taken.failures.push(failure),
                Line::End(end) => taken.end = end,
            }
        }
        Ok(())
    };
    drive(&args, std::future::pending(), sink).await.unwrap();
    said
}

/// A server that answers with what `answer` makes of the number of the request.
async fn serve<F, R>(answer: F) -> SocketAddr
where
    F: Fn(usize) -> R + Clone + Send + 'static,
    R: Future<Output = Answer> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (answer, count) = (answer.clone(), count.clone());
            let service = service_fn(move |_| {
                let answered = answer(count.fetch_add(1, Ordering::Relaxed));
                async move { Ok::<_, Infallible>(answered.await) }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

/// A server of raw connections.
async fn serve_raw<R>(one: impl Fn(TcpStream) -> R + Send + 'static) -> SocketAddr
where
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(one(stream));
        }
    });
    address
}

fn body(text: &'static str) -> Answer {
    http::Response::new(Full::new(Bytes::from_static(text.as_bytes())))
}

#[tokio::test]
async fn every_request_that_was_due_is_sent_once_and_counted_once() {
    let said = load(args(serve(|_| async { body(r#"{"version":"v7"}"#) }).await)).await;
    // Due at 0 ms, 1 ms, … 50 ms.
    assert_eq!((said.end.sent, said.end.ok, said.end.failed), (51, 51, 0));
    let sum = |of: fn(&Tick) -> u64| said.ticks.iter().map(of).sum::<u64>();
    assert_eq!(
        (sum(|t| t.sent), sum(|t| t.ok), sum(|t| t.versions.get("v7").copied().unwrap_or(0))),
        (51, 51, 51)
    );
    assert!(said.ticks.windows(2).all(|w| w[0].until == w[1].at), "ticks leave no gap");
    assert_eq!(said.ticks.last().map(|t| t.open), Some(0));
}

#[tokio::test]
async fn requests_become_due_while_none_is_answered() {
    // Nobody is answered before all fifty-one have arrived: a load that waits for answers would never end.
    let all = Arc::new(Barrier::new(51));
    let answer = move |_| {
        let all = all.clone();
        async move {
            all.wait().await;
            body("{}")
        }
    };
    let said = load(args(serve(answer).await)).await;
    assert_eq!((said.end.ok, said.end.failed), (51, 0));
    assert_eq!(said.end.opened, 51, "each found all connections busy");
}

#[tokio::test]
async fn time_spent_waiting_for_a_busy_server_counts_as_latency() {
    // The first answer takes its time on the only connection; those due meanwhile go out late, one after the other.
    let address = serve(|n| async move {
        if n == 0 {
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
        body("{}")
    });
    let said = load(Args { connections: 1, connections_max: 1, ..args(address.await) }).await;
    assert_eq!((said.end.ok, said.end.opened), (51, 1));
    let slowest = said.ticks.iter().map(|t| t.max_us).max().unwrap();
    assert!(slowest >= 40_000, "the slowest answer came {slowest} us after it was due");
    assert!(said.end.late > 0);
}

#[tokio::test]
async fn answers_other_than_success_are_failures_with_what_the_proxy_said() {
    let answer = |n| async move {
        let mut answer = body("no endpoint\n");
        if n == 5 {
            *answer.status_mut() = http::StatusCode::BAD_GATEWAY;
            answer.headers_mut().insert("x-knarr-endpoint", "127.9.64.3:8080".parse().unwrap());
            answer.headers_mut().insert("x-knarr-proxy", "reset".parse().unwrap());
        }
        answer
    };
    let said = load(args(serve(answer).await)).await;
    let [failure] = said.failures.as_slice() else { panic!("{:?}", said.failures) };
    assert_eq!((failure.kind, failure.status), (FailureKind::Status, Some(502)));
    assert_eq!((&*failure.endpoint, &*failure.proxy), ("127.9.64.3:8080", "reset"));
    assert_eq!(failure.detail, "no endpoint");
    assert!(failure.due <= failure.end);
}

#[tokio::test]
async fn a_connection_closed_on_a_request_fails_it_and_is_not_tried_again() {
    let count = Arc::new(AtomicUsize::new(0));
    let requests = count.clone();
    let address = serve_raw(move |mut stream| {
        let requests = requests.clone();
        async move {
            let mut head = [0; 1024];
            if stream.read(&mut head).await.is_ok_and(|n| n > 0) {
                requests.fetch_add(1, Ordering::Relaxed);
                // Half an answer.
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhal").await;
            }
        }
    });
    let said = load(args(address.await)).await;
    assert_eq!(said.kinds(), [FailureKind::Closed]);
    assert_eq!((said.end.failed, count.load(Ordering::Relaxed)), (51, 51));
}

#[tokio::test]
async fn a_connection_that_closed_while_it_was_idle_fails_nothing() {
    let address = serve_raw(|mut stream| async move {
        let mut head = [0; 1024];
        if stream.read(&mut head).await.is_ok_and(|n| n > 0) {
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
            let _ = stream.write_all(answer).await;
        }
    });
    let said = load(args(address.await)).await;
    assert_eq!((said.end.ok, said.end.failed), (51, 0));
    assert!(said.end.opened > 40, "each connection served one request: {}", said.end.opened);
}

#[tokio::test]
async fn who_does_not_answer_in_time_fails_the_request_and_those_never_sent_are_told_apart() {
    let address = serve(|_| std::future::pending());
    // All of them due within half a millisecond, so that their time is over together.
    let burst = Args { rate: 100_000.0, seconds: Some(0.0005), ..args(address.await) };
    let said = load(Args { connections: 1, connections_max: 1, timeout_ms: 300, ..burst }).await;
    assert_eq!((said.end.ok, said.end.failed), (0, 51));
    let of = |kind| said.failures.iter().filter(|f| f.kind == kind).count();
    assert!(of(FailureKind::Timeout) > 0 && of(FailureKind::Unsent) > 0, "{:?}", said.kinds());
    assert!(said.failures.iter().all(|f| f.end - f.due >= 300_000));
}

#[tokio::test]
async fn an_address_where_nobody_listens_any_more_fails_requests_on_connecting() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // Accepts the first connections, then is gone with them.
    tokio::spawn(async move {
        let first = (listener.accept().await, listener.accept().await);
        drop(listener);
        drop(first);
    });
    let said = load(args(address)).await;
    assert!(said.kinds().contains(&FailureKind::Connect), "{:?}", said.kinds());
    assert_eq!(said.end.ok, 0);
}

#[tokio::test]
async fn flags_that_make_no_sense_are_refused_before_anything_is_sent() {
    let good = || args("127.0.0.1:1".parse().unwrap());
    let bad = [
        Args { rate: 0.0, ..good() },
        Args { connections: 0, ..good() },
        Args { connections: 65, ..good() },
        Args { timeout_ms: 0, ..good() },
        Args { seconds: Some(-1.0), ..good() },
    ];
    for args in bad {
        let refused = drive(&args, std::future::pending(), |_| Ok(())).await.unwrap_err();
        assert!(refused.to_string().starts_with("--"), "{refused}");
    }
}
