//! Stage: one line of trace, the numbers, and a line of the audit log if there is one.

use api_client::Response;
use http::HeaderValue;
use serde_json::{Value, json};
use stdx::Time;

use super::authorize::attributes;
use crate::net::Peer;
use crate::server::Call;
use crate::sub::reviews::user_info;
use crate::who::Decision;

/// Names a request in answers and logs; a client may bring its own.
const ID: &str = "audit-id";
/// Longest name that a client may bring.
const ID_BYTES_MAX: usize = 64;

/// Records what came of a request, and names it in the answer.
pub(crate) fn audit(call: &Call, response: &mut Response, started: Time) {
    let server = &call.server;
    let took = server.env.now().since(started);
    let code = response.status().as_u16();
    let id = id(call);
    server.metrics.request(call.verb, &call.target, code, took);
    tracing::debug!(
        audit_id = %id,
        user = %call.user.name,
        verb = call.verb,
        path = %call.head.uri,
        code,
        notes = ?*call.notes(),
        micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        "request"
    );
    if let Some(log) = server.audit_log() {
        log.write(&event(call, &id, code, started));
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(ID, id);
    }
}

fn id(call: &Call) -> String {
    let given = call.header(http::HeaderName::from_static(ID));
    if given.is_empty() || given.len() > ID_BYTES_MAX {
        call.server.next_audit_id()
    } else {
        given.to_owned()
    }
}

/// The event as `audit.k8s.io/v1` has it.
fn event(call: &Call, id: &str, code: u16, started: Time) -> Value {
    let asked = attributes(call);
    let authorizer = &call.server.authorizer;
    let (decision, reason) = match authorizer.authorize(&call.user, &asked) {
        Decision::Allow => ("allow", authorizer.reason(&call.user, &asked)),
        Decision::Deny(why) => ("forbid", why),
    };
    // A watch goes on after its answer has begun.
    let stage = if call.verb == "watch" { "ResponseStarted" } else { "ResponseComplete" };
    let mut event = json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata",
        "auditID": id, "stage": stage,
        "requestURI": call.head.uri.to_string(), "verb": call.verb,
        "user": user_info(call.caller.as_ref().unwrap_or(&call.user)),
        "userAgent": call.header(http::header::USER_AGENT),
        "responseStatus": {"metadata": {}, "code": code},
        "requestReceivedTimestamp": started.to_micro_string(),
        "stageTimestamp": call.server.env.now().to_micro_string(),
        "annotations": {"authorization.k8s.io/decision": decision, "authorization.k8s.io/reason": reason},
    });
    for (key, note) in &*call.notes() {
        event["annotations"][key] = note.as_str().into();
    }
    if call.caller.is_some() {
        event["impersonatedUser"] = user_info(&call.user);
    }
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
