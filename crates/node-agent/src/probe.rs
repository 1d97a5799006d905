//! Runs one probe. Never connects outside 127.0.0.0/8: the pods of these nodes live there, and nothing else is our business.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use api_core::{Container, HttpGetAction, Probe};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::runtime::PodRuntime;

/// How much of an answer is read.
const BODY_BYTES_MAX: usize = 10 << 10;

/// What to probe.
pub(crate) struct Target {
    pub(crate) uid: String,
    pub(crate) address: Option<IpAddr>,
    pub(crate) container: Container,
    pub(crate) probe: Probe,
    pub(crate) timeout: Duration,
}

/// Success, or why not.
pub(crate) type Answer = Result<(), String>;

/// Runs the probe to its end or its timeout.
pub(crate) async fn run<R: PodRuntime>(runtime: &R, target: &Target) -> Answer {
    let answer = async {
        if let Some(action) = &target.probe.http_get {
            return http(target, action).await;
        }
        if let Some(action) = &target.probe.tcp_socket {
            let address = socket(target, &action.host, &action.port)?;
            return TcpStream::connect(address)
                .await
                .map(drop)
                .map_err(|e| format!("dial tcp {address}: {e}"));
        }
        if let Some(action) = &target.probe.exec {
            let name = &target.container.name;
            let outcome = runtime.exec(&target.uid, name, &action.command, target.timeout).await;
            return if outcome.code == Some(0) { Ok(()) } else { Err(outcome.output) };
        }
        Err("this kind of probe is not supported here: only httpGet (HTTP), tcpSocket and exec are"
            .to_owned())
    };
    let timeout = tokio::time::timeout(target.timeout, answer).await;
    timeout.unwrap_or_else(|_| Err(format!("no answer within {} s", target.timeout.as_secs())))
}

async fn http(target: &Target, action: &HttpGetAction) -> Answer {
    if action.scheme.eq_ignore_ascii_case("https") {
        return Err("HTTPS probes are not supported here: use scheme HTTP".to_owned());
    }
    let address = socket(target, &action.host, &action.port)?;
    let path = if action.path.starts_with('/') { action.path.clone() } else { format!("/{}", action.path) };
    let url = format!("http://{address}{path}");
    let failed = |e: &dyn std::fmt::Display| format!("Get \"{url}\": {e}");
    let stream = TcpStream::connect(address).await.map_err(|e| failed(&e))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| failed(&e))?;
    let mut request = http::Request::get(&path)
        .header(http::header::USER_AGENT, "kube-probe/1.36")
        .header(http::header::ACCEPT, "*/*")
        .header(http::header::CONNECTION, "close");
    let mut has_host = false;
    for header in &action.http_headers {
        let (name, value) = (header["name"].as_str().unwrap_or(""), header["value"].as_str().unwrap_or(""));
        has_host |= name.eq_ignore_ascii_case("host");
        request = request.header(name, value);
    }
    if !has_host {
        request = request.header(http::header::HOST, address.to_string());
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|e| failed(&e))?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|e| failed(&e))?;
        let status = response.status();
        // Read a little, so that servers which mind are not cut off in the middle of a sentence.
        let _ = Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await;
        if (200..400).contains(&status.as_u16()) {
            return Ok(());
        }
        Err(format!("HTTP probe failed with statuscode: {}", status.as_u16()))
    };
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        // The connection may end with the answer already handed over.
        _ = connection => exchange.await,
    }
}

fn socket(target: &Target, host: &str, port: &Value) -> Result<SocketAddr, String> {
    let port = match port {
        Value::Number(n) => n.as_u64().and_then(|n| u16::try_from(n).ok()),
        Value::String(name) => name.parse().ok().or_else(|| named_port(&target.container, name)),
        _ => None,
    };
    let port = port.ok_or_else(|| "the probe names no port of the container".to_owned())?;
    let address = match host {
        "" => target.address.ok_or_else(|| "the pod has no address yet".to_owned())?,
        "localhost" => IpAddr::from([127, 0, 0, 1]),
        host => host.parse().map_err(|_| format!("probe host {host:?} is not an address in 127.0.0.0/8"))?,
    };
    if !matches!(address, IpAddr::V4(v4) if v4.octets()[0] == 127) {
        return Err(format!("probe host {address} is outside 127.0.0.0/8"));
    }
    Ok(SocketAddr::new(address, port))
}

fn named_port(container: &Container, name: &str) -> Option<u16> {
    let port = container.ports.iter().find(|p| p.name == name)?.container_port;
    u16::try_from(port).ok()
}
