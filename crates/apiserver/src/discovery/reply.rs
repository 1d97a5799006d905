//! Responses of documents.

use api_client::{Body, Request, Response};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH};
use http::{Method, StatusCode};
use serde_json::Value;

/// A whole body of a media type.
pub(crate) fn reply(code: u16, media: &str, body: impl Into<Bytes>) -> Response {
    let mut response = http::Response::new(Body::Full(body.into()));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Ok(media) = HeaderValue::from_str(media) {
        response.headers_mut().insert(CONTENT_TYPE, media);
    }
    response
}

/// A document in JSON.
pub(crate) fn json(code: u16, document: &Value) -> Response {
    reply(code, "application/json", document.to_string())
}

/// What Go's multiplexer says of a path nobody registered.
pub(crate) fn not_found_text() -> Response {
    reply(404, "text/plain; charset=utf-8", "404 page not found\n")
}

/// The body under its entity tag, or 304 without one when the client has it already.
pub(crate) fn tagged(request: &Request, media: &str, hash: &str, body: impl FnOnce() -> Bytes) -> Response {
    let tag = format!("\"{hash}\"");
    let known = request.headers().get(IF_NONE_MATCH).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let mut response = if known.split(',').any(|t| t.trim().trim_start_matches("W/") == tag) {
        let mut response = http::Response::new(Body::Full(Bytes::new()));
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else if request.method() == Method::HEAD {
        reply(200, media, Bytes::new())
    } else {
        reply(200, media, body())
    };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}
