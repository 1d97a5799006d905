//! Responses in the form the client asked for.

use api_client::{Body, Response};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WARNING};
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use crate::refuse::{self, Outcome, Refusal, internal};
use crate::represent;
use crate::request::Form;
use crate::yaml;

/// A response with a whole body.
pub(crate) fn full(code: u16, media_type: &'static str, body: impl Into<Bytes>) -> Response {
    let mut response = http::Response::new(Body::Full(body.into()));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// A tree in the asked form.
pub(crate) fn tree(code: u16, form: Form, tree: &Value) -> Outcome<Response> {
    let body = match form {
        Form::Json => serde_json::to_vec(tree).map_err(internal)?,
        Form::Pretty => pretty(tree)?,
        Form::Yaml => yaml::document(tree).into_bytes(),
        Form::Protobuf => represent::protobuf::tree(tree)?,
    };
    Ok(full(code, form.media_type(), body))
}

fn pretty(tree: &Value) -> Outcome<Vec<u8>> {
    let mut body = serde_json::to_vec_pretty(tree).map_err(internal)?;
    body.push(b'\n');
    Ok(body)
}

/// JSON bytes in the asked form; parsed only when that is not plain JSON.
pub(crate) fn json(code: u16, form: Form, bytes: impl Into<Bytes>) -> Outcome<Response> {
    let bytes = bytes.into();
    if form == Form::Json {
        return Ok(full(code, form.media_type(), bytes));
    }
    let parsed: Value = serde_json::from_slice(&bytes).map_err(internal)?;
    tree(code, form, &parsed)
}

/// Plain text.
pub(crate) fn text(code: u16, text: impl Into<String>) -> Response {
    full(code, "text/plain; charset=utf-8", text.into())
}

/// A refusal as an answer.
pub(crate) fn refusal(refusal: &Refusal, form: Form) -> Response {
    let status = &refusal.status;
    let mut response = match refusal.plain {
        Some(words) => text(status.code, words),
        None => {
            let body = refuse::tree(status, refusal.next.as_deref());
            tree(status.code, form, &body).unwrap_or_else(|_| text(status.code, status.message.clone()))
        }
    };
    let wait = status.details.as_ref().and_then(|d| d.retry_after_seconds);
    if let Some(wait) = wait.and_then(|secs| HeaderValue::from_str(&secs.to_string()).ok()) {
        response.headers_mut().insert(RETRY_AFTER, wait);
    }
    response
}

/// Says which rules of flow control let the request in; nothing of rules that are no objects.
pub(crate) fn flow(headers: &mut HeaderMap, schema: &str, level: &str) {
    let names = ["x-kubernetes-pf-flowschema-uid", "x-kubernetes-pf-prioritylevel-uid"];
    for (name, uid) in names.into_iter().zip([schema, level]).filter(|(_, uid)| !uid.is_empty()) {
        if let Ok(value) = HeaderValue::from_str(uid) {
            headers.insert(name, value);
        }
    }
}

/// Adds warnings as headers.
pub(crate) fn warn(headers: &mut HeaderMap, warnings: &[String]) {
    for text in warnings {
        let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{escaped}\"")) {
            headers.append(WARNING, value);
        }
    }
}
