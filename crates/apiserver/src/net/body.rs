//! Bodies between hyper and the pipeline.

use std::convert::Infallible;

use api_client::{Body, Response};
use api_meta::{Reason, Status};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited, StreamBody};
use hyper::body::{Frame, Incoming};

/// What hyper sends.
pub(super) type Outgoing = UnsyncBoxBody<Bytes, std::io::Error>;

/// Reads a request body up to `limit` bytes.
pub(super) async fn read(body: Incoming, limit: usize) -> Result<Bytes, Status> {
    match Limited::new(body, limit).collect().await {
        Ok(all) => Ok(all.to_bytes()),
        Err(e) if e.downcast_ref::<LengthLimitError>().is_some() => Err(Status::failure(
            Reason::RequestEntityTooLarge,
            format!("Request entity too large: limit is {limit}"),
        )),
        Err(e) => Err(Status::failure(Reason::BadRequest, format!("unable to read the request body: {e}"))),
    }
}

/// A response for hyper. A stream that breaks off ends the connection, so that the client sees the break.
pub(super) fn outgoing(response: Response) -> http::Response<Outgoing> {
    response.map(|body| match body {
        Body::Full(bytes) => Full::new(bytes).map_err(|never: Infallible| match never {}).boxed_unsync(),
        Body::Stream(chunks) => {
            let frames = chunks.map_ok(Frame::data).map(|f| f.map_err(std::io::Error::other));
            StreamBody::new(frames).boxed_unsync()
        }
    })
}

/// A refusal as a response.
pub(super) fn refusal(status: &Status) -> http::Response<Outgoing> {
    let mut tree = serde_json::json!({"kind": "Status", "apiVersion": "v1", "metadata": {}});
    if let (Some(into), Ok(serde_json::Value::Object(from))) =
        (tree.as_object_mut(), serde_json::to_value(status))
    {
        into.extend(from);
    }
    let bytes = Bytes::from(tree.to_string());
    let code = http::StatusCode::from_u16(status.code).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = outgoing(http::Response::new(Body::Full(bytes)));
    *response.status_mut() = code;
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, json);
    response
}
