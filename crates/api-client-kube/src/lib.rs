//! The network transport: kube-rs carries the requests, so that every kubeconfig in the world works (exec plug-ins,
//! proxies, rotating tokens, client certificates).
//!
//! What is absent: typed objects. k8s-openapi comes along with kube-rs and stays unused, here and everywhere else.

use std::path::Path;

use api_client::{Body, Error, Request, Response, Transport};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use http_body_util::BodyExt;
use kube::config::{KubeConfigOptions, Kubeconfig};
use stdx::BoxFuture;

/// A transport over the network.
#[derive(Clone)]
pub struct KubeTransport {
    client: kube::Client,
}

/// A kubeconfig that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be read or understood.
    #[error("use kubeconfig {path}: {reason}")]
    Kubeconfig {
        /// Which file.
        path: String,
        /// Why not.
        reason: String,
    },
    /// No kubeconfig was named, and neither `KUBECONFIG`, `~/.kube/config` nor a service account is there.
    #[error("find a cluster: {0}; name one with --kubeconfig FILE")]
    Nowhere(String),
}

impl KubeTransport {
    /// Connects as a kubeconfig says; as `KUBECONFIG`, `~/.kube/config` or the pod's service account say when none is named.
    ///
    /// # Errors
    /// When the configuration cannot be read. The cluster itself is not contacted.
    pub async fn open(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<KubeTransport, OpenError> {
        let options =
            KubeConfigOptions { context: context.map(str::to_owned), ..KubeConfigOptions::default() };
        let mut config = match kubeconfig {
            Some(path) => {
                let wrong =
                    |reason: String| OpenError::Kubeconfig { path: path.display().to_string(), reason };
                let file = Kubeconfig::read_from(path).map_err(|e| wrong(chain(&e)))?;
                kube::Config::from_custom_kubeconfig(file, &options).await.map_err(|e| wrong(chain(&e)))?
            }
            None if context.is_some() => {
                kube::Config::from_kubeconfig(&options).await.map_err(|e| OpenError::Nowhere(chain(&e)))?
            }
            None => kube::Config::infer().await.map_err(|e| OpenError::Nowhere(chain(&e)))?,
        };
        // A watch may be silent for long; the server ends it, not the client.
        config.read_timeout = None;
        config.write_timeout = None;
        let client = kube::Client::try_from(config).map_err(|e| OpenError::Nowhere(chain(&e)))?;
        Ok(KubeTransport { client })
    }

    /// The namespace of the kubeconfig's context.
    pub fn default_namespace(&self) -> &str {
        self.client.default_namespace()
    }
}

impl Transport for KubeTransport {
    fn send(&self, request: Request) -> BoxFuture<Result<Response, Error>> {
        let client = self.client.clone();
        Box::pin(async move {
            let streams = is_stream(&request);
            let response =
                client.send(request.map(kube::client::Body::from)).await.map_err(|e| unreachable(&e))?;
            let (parts, body) = response.into_parts();
            let body = if streams && parts.status.is_success() {
                let chunks = body.into_data_stream().map(|c| c.map_err(|e| unreachable(&e)));
                Body::Stream(chunks.boxed())
            } else {
                let chunks: Vec<Bytes> =
                    body.into_data_stream().try_collect().await.map_err(|e| unreachable(&e))?;
                Body::Full(chunks.concat().into())
            };
            Ok(Response::from_parts(parts, body))
        })
    }
}

/// Watches and logs are read as they come; everything else whole.
fn is_stream(request: &Request) -> bool {
    let query = request.uri().query().unwrap_or_default();
    let follows = query.split('&').any(|p| matches!(p, "watch=true" | "watch=1" | "follow=true"));
    follows || request.uri().path().ends_with("/log")
}

fn unreachable(error: &kube::Error) -> Error {
    Error::Unreachable(chain(error))
}

/// An error with all its causes, each once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut out = error.to_string();
    let mut cause = error.source();
    while let Some(e) = cause {
        let text = e.to_string();
        if !out.contains(&text) {
            out.push_str(": ");
            out.push_str(&text);
        }
        cause = e.source();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watches_and_logs_stream() {
        let request = |uri: &str| http::Request::builder().uri(uri).body(Bytes::new()).unwrap();
        assert!(is_stream(&request("/api/v1/pods?watch=true&limit=1")));
        assert!(is_stream(&request("/api/v1/namespaces/a/pods/b/log")));
        assert!(!is_stream(&request("/api/v1/pods?limit=500")));
    }

    #[tokio::test]
    async fn a_missing_kubeconfig_is_named() {
        let error =
            KubeTransport::open(Some(Path::new("/nonexistent/kubeconfig")), None).await.err().unwrap();
        assert!(error.to_string().contains("/nonexistent/kubeconfig"), "{error}");
    }
}
