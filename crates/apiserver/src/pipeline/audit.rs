//! Stage: one line of trace, the numbers, and lines of the audit log if there is one.

use std::sync::Arc;

use api_client::{Body, Response};
use api_meta::Status;
use futures_util::StreamExt;
use http::HeaderValue;
use serde_json::{Value, json};
use stdx::Time;

use super::authorize::attributes;
use crate::audit::{Asked, Level, Stage, Verdict};
use crate::net::{CertificateEnd, Peer};
use crate::server::{ApiServer, Call};
use crate::sub::reviews::user_info;
use crate::who::Decision;

/// Names a request in answers and logs; a client may bring its own.
const ID: &str = "audit-id";
/// Longest name that a client may bring.
const ID_BYTES_MAX: usize = 64;
/// Longest body that an event repeats.
const BODY_BYTES_MAX: usize = 256 << 10;

/// Records that a request has arrived. By whom counts as it is now: before anybody acts as somebody else.
pub(crate) fn received(call: &Call, started: Time) {
    let Some(log) = call.server.audit_log() else { return };
    let asked = attributes(call);
    let verdict = log.policy().judge(&Asked {
        user: &call.user.name,
        groups: &call.user.groups,
        verb: asked.verb,
        group: asked.group,
        resource: asked.resource,
        subresource: asked.subresource,
        namespace: asked.namespace,
        name: asked.name,
        path: asked.path,
    });
    call.server.metrics.audited(verdict.level);
    if verdict.tells(Stage::RequestReceived) {
        let mut event = head(call, &verdict, started);
        event["stageTimestamp"] = started.to_micro_string().into();
        write(&call.server, event, Stage::RequestReceived);
    }
    call.tell(verdict);
}

/// Records what came of a request, and names it in the answer.
pub(crate) fn audit(call: &Call, response: &mut Response, refused: Option<&Status>, started: Time) {
    let server = &call.server;
    let took = server.env.now().since(started);
    let code = response.status().as_u16();
    let ends = call.head.extensions.get::<CertificateEnd>().map(|end| end.0.since(started));
    server.metrics.request(call, code, took, ends);
    tracing::debug!(
        audit_id = %call.id(),
        user = %call.user.name,
        verb = call.verb,
        path = %call.head.uri,
        code,
        notes = ?*call.notes(),
        micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        "request"
    );
    if let Some(verdict) = call.verdict().filter(|verdict| verdict.level > Level::None) {
        answered(call, verdict, response, refused, started);
    }
    if let Ok(id) = HeaderValue::from_str(call.id()) {
        response.headers_mut().insert(ID, id);
    }
}

/// The name of a request.
pub(crate) fn id(call: &Call) -> String {
    let given = call.header(http::HeaderName::from_static(ID));
    if given.is_empty() || given.len() > ID_BYTES_MAX {
        call.server.next_audit_id()
    } else {
        given.to_owned()
    }
}

/// Writes what can be told now. A watch goes on after its answer has begun: its end is told then.
fn answered(
    call: &Call,
    verdict: &Verdict,
    response: &mut Response,
    refused: Option<&Status>,
    started: Time,
) {
    let event = event(call, verdict, response, refused, started);
    let server = &call.server;
    if call.verb != "watch" || !matches!(response.body(), Body::Stream(_)) {
        if verdict.tells(Stage::ResponseComplete) {
            write(server, event, Stage::ResponseComplete);
        }
        return;
    }
    if verdict.tells(Stage::ResponseStarted) {
        write(server, event.clone(), Stage::ResponseStarted);
    }
    if verdict.tells(Stage::ResponseComplete) {
        let end = End { server: server.clone(), event };
        let body = std::mem::replace(response.body_mut(), Body::Full(bytes::Bytes::new()));
        if let Body::Stream(parts) = body {
            let told = parts.map(move |part| {
                let _ = &end;
                part
            });
            *response.body_mut() = Body::Stream(told.boxed());
        }
    }
}

/// Tells the end of a watch when it goes.
struct End {
    server: Arc<ApiServer>,
    event: Value,
}

impl Drop for End {
    fn drop(&mut self) {
        write(&self.server, std::mem::take(&mut self.event), Stage::ResponseComplete);
    }
}

fn write(server: &ApiServer, mut event: Value, stage: Stage) {
    let Some(log) = server.audit_log() else { return };
    let now = server.env.now();
    event["stage"] = stage.name().into();
    if event["stageTimestamp"].is_null() {
        event["stageTimestamp"] = now.to_micro_string().into();
    }
    let is_there = log.write(&event, now);
    server.metrics.audit_event(is_there);
}

/// Who has sent a request; nothing where nobody knows.
fn sender(call: &Call) -> Value {
    let sender = call.caller.as_ref().unwrap_or(&call.user);
    if sender.name.is_empty() { json!({}) } else { user_info(sender) }
}

/// What is known of a request when it arrives.
fn head(call: &Call, verdict: &Verdict, started: Time) -> Value {
    let asked = attributes(call);
    let mut event = json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": verdict.level.name(),
        "auditID": call.id(), "stage": null,
        "requestURI": call.head.uri.to_string(), "verb": call.verb,
        "user": sender(call),
        "userAgent": call.header(http::header::USER_AGENT),
        "requestReceivedTimestamp": started.to_micro_string(),
    });
    if let Some(Peer(address)) = call.head.extensions.get() {
        event["sourceIPs"] = json!([address.ip().to_string()]);
    }
    if !asked.resource.is_empty() {
        let parts = [
            ("resource", asked.resource),
            ("namespace", asked.namespace),
            ("name", asked.name),
            ("apiGroup", asked.group),
            ("apiVersion", asked.version),
            ("subresource", asked.subresource),
        ];
        let known = parts.into_iter().filter(|(_, text)| !text.is_empty());
        event["objectRef"] = known.map(|(key, text)| (key.to_owned(), Value::from(text))).collect();
    }
    event
}

/// The event as `audit.k8s.io/v1` has it.
fn event(
    call: &Call,
    verdict: &Verdict,
    response: &Response,
    refused: Option<&Status>,
    started: Time,
) -> Value {
    let mut event = head(call, verdict, started);
    event["responseStatus"] = json!({"metadata": {}, "code": response.status().as_u16()});
    if let Some(status) = refused {
        event["responseStatus"]["status"] = "Failure".into();
        event["responseStatus"]["message"] = status.message.as_str().into();
        if !status.reason.is_empty() {
            event["responseStatus"]["reason"] = status.reason.as_str().into();
        }
    }
    // Of whom is not known, nothing was decided.
    if call.early_refusal().is_none() {
        let (asked, authorizer) = (attributes(call), &call.server.authorizer);
        let (decision, reason) = match authorizer.authorize(&call.user, &asked) {
            Decision::Allow => ("allow", authorizer.reason(&call.user, &asked)),
            Decision::Deny(why) => ("forbid", why),
        };
        event["annotations"] =
            json!({"authorization.k8s.io/decision": decision, "authorization.k8s.io/reason": reason});
    }
    for (key, note) in &*call.notes() {
        event["annotations"][key] = note.as_str().into();
    }
    if call.caller.is_some() {
        event["impersonatedUser"] = user_info(&call.user);
    }
    if verdict.level >= Level::Request {
        tell_body(&mut event, "requestObject", &call.body, verdict);
    }
    if let (true, Body::Full(bytes)) = (verdict.level >= Level::RequestResponse, response.body()) {
        tell_body(&mut event, "responseObject", bytes, verdict);
    }
    event
}

/// Repeats a body of JSON; others, and very long ones, are left out.
fn tell_body(event: &mut Value, key: &str, body: &[u8], verdict: &Verdict) {
    if body.is_empty() || body.len() > BODY_BYTES_MAX {
        return;
    }
    let Ok(mut object) = serde_json::from_slice::<Value>(body) else { return };
    if verdict.omits_managed_fields {
        forget_managers(&mut object);
        object.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten().for_each(forget_managers);
    }
    event[key] = object;
}

fn forget_managers(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
}
