//! Looks at the proxy's figures, again and again.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use stdx::Env;
use tokio::sync::mpsc;
use view::board::TrafficReading;

use crate::keeper::Input;

/// An answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(1);
/// Bytes of an answer.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Tells the keeper what the proxy has counted, every `period`; nothing when there is no proxy or it does not answer.
pub(crate) async fn poll(proxy: Option<SocketAddr>, period: Duration, env: Env, out: mpsc::Sender<Input>) {
    let client: Client<HttpConnector, Empty<Bytes>> =
        Client::builder(TokioExecutor::new()).build(HttpConnector::new());
    loop {
        let beat = env.sleep(period);
        let reading = match proxy {
            Some(address) => tokio::select! {
                reading = look(&client, address) => reading,
                () = env.sleep(PATIENCE) => None,
            },
            None => None,
        };
        if out.send(Input::Traffic(reading)).await.is_err() {
            return;
        }
        beat.await;
    }
}

async fn look(client: &Client<HttpConnector, Empty<Bytes>>, proxy: SocketAddr) -> Option<TrafficReading> {
    let uri = format!("http://{proxy}/traffic").parse().expect("a socket address makes a URI");
    let answer = async {
        let response = client.get(uri).await.ok().filter(|r| r.status().is_success())?;
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await.ok()?;
        serde_json::from_slice::<Value>(&body.to_bytes()).ok()
    };
    let reading = answer.await.map(|body| TrafficReading::of(&body));
    if reading.is_none() {
        // The proxy may not have started yet, or be starting anew: the page says that there are no figures.
        tracing::debug!(%proxy, "the proxy gives no figures");
    }
    reading
}
