//! The API server's way to node agents: plain HTTP on loopback, answers passed on as they come.

use api_client::{Body, Error, Response};
use apiserver::Nodes;
use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use stdx::BoxFuture;

/// Talks to agents.
pub(crate) struct Agents {
    client: Client<HttpConnector, Empty<Bytes>>,
}

impl Agents {
    /// A client without open connections.
    pub(crate) fn new() -> Agents {
        Agents { client: Client::builder(TokioExecutor::new()).build_http() }
    }
}

impl Nodes for Agents {
    fn get(&self, address: String, port: u16, path_and_query: String) -> BoxFuture<Result<Response, Error>> {
        let client = self.client.clone();
        Box::pin(async move {
            // Agents of the embedded server are on this machine; nothing else may be reached through it.
            let is_local = address.parse::<std::net::Ipv4Addr>().is_ok_and(|a| a.is_loopback());
            if !is_local {
                return Err(Error::Unreachable(format!("node agent at {address} is not on loopback")));
            }
            let uri = format!("http://{address}:{port}{path_and_query}");
            let uri: http::Uri = uri.parse().map_err(|e| Error::Unbuildable(format!("{uri}: {e}")))?;
            let wrong = |e: &dyn std::fmt::Display| {
                Error::Unreachable(format!("node agent at {address}:{port}: {e}"))
            };
            let response = client.get(uri).await.map_err(|e| wrong(&e))?;
            Ok(response.map(|body| {
                let chunks =
                    body.into_data_stream().map(|c| c.map_err(|e| Error::Unreachable(e.to_string())));
                Body::Stream(chunks.boxed())
            }))
        })
    }
}
