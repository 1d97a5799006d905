//! The example application: a small HTTP server that takes its time, and leaves as rudely as many do.
//!
//! Each request takes 20 ms. On SIGTERM the process exits at once, without finishing open requests: who wants none lost
//! must take it out of service first.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpListener;

/// Flags of the example application.
#[derive(clap::Args, Clone, Debug)]
#[command(disable_version_flag = true)]
pub(crate) struct Args {
    /// What it says its version is.
    #[arg(long, default_value = "v1")]
    version: String,
    /// Exit at once with code 1: a release that is broken.
    #[arg(long)]
    fail_start: bool,
    /// Port to listen on, at the address in POD_IP (127.0.0.1 without).
    #[arg(long, default_value_t = 8080)]
    port: u16,
}

/// How long a request takes.
const WORK: Duration = Duration::from_millis(20);

/// Serves until it is killed.
pub(crate) async fn run(args: Args) -> ExitCode {
    if args.fail_start {
        eprintln!("shop {}: cannot start", args.version);
        return ExitCode::FAILURE;
    }
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let ip = std::env::var("POD_IP").unwrap_or_else(|_| "127.0.0.1".to_owned());
    let listener = match TcpListener::bind((ip.as_str(), args.port)).await {
        Ok(listener) => listener,
        Err(e) => {
            eprintln!("shop {}: listen on {ip}:{}: {e}", args.version, args.port);
            return ExitCode::FAILURE;
        }
    };
    let about = json!({"app": "shop", "version": args.version, "pod": variable("POD_NAME"), "node": variable("NODE_NAME")});
    let about = Arc::new(format!("{about}\n"));
    eprintln!("shop {}: listening on {ip}:{}", args.version, args.port);
    loop {
        let Ok((stream, peer)) = listener.accept().await else { continue };
        let (about, version) = (about.clone(), args.version.clone());
        tokio::spawn(async move {
            let service = service_fn(move |r| answer(r, about.clone(), version.clone(), peer));
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(
    request: http::Request<Incoming>,
    about: Arc<String>,
    version: String,
    peer: SocketAddr,
) -> Result<http::Response<Full<Bytes>>, Infallible> {
    let (code, body) = match request.uri().path() {
        "/healthz" | "/readyz" => (200, "ok\n".to_owned()),
        "/" => {
            tokio::time::sleep(WORK).await;
            println_line(&format!("{version} GET / from {peer}"));
            (200, about.as_str().to_owned())
        }
        _ => (404, "not found\n".to_owned()),
    };
    let mut response = http::Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or_default();
    Ok(response)
}

fn println_line(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{line}");
}
