//! Requests and responses as values.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use stdx::BoxFuture;

use crate::Error;

/// Chunks of a response that is still being produced.
pub type BodyStream = Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>>;

/// What a response carries.
pub enum Body {
    /// All of it.
    Full(Bytes),
    /// A stream: watches, logs, long lists.
    Stream(BodyStream),
}

impl Body {
    /// Reads the whole body.
    pub async fn collect(self) -> Result<Bytes, Error> {
        match self {
            Body::Full(bytes) => Ok(bytes),
            Body::Stream(mut stream) => {
                let mut out = Vec::new();
                while let Some(chunk) = stream.next().await {
                    out.extend_from_slice(&chunk?);
                }
                Ok(out.into())
            }
        }
    }
}

/// A request: path and query only in the URI, the whole body in memory.
pub type Request = http::Request<Bytes>;
/// A response.
pub type Response = http::Response<Body>;

/// Carries requests to an API server. Errors are of the transport; refusals by the server are responses.
pub trait Transport: Send + Sync {
    /// Sends one request. Dropping the future or the response's stream ends the request.
    fn send(&self, request: Request) -> BoxFuture<Result<Response, Error>>;
}
