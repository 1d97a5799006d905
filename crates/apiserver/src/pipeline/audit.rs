//! Stage: one line of trace and the numbers.

use api_client::Response;
use stdx::Time;

use crate::server::Call;

/// Records what came of a request.
pub(crate) fn audit(call: &Call, response: &Response, started: Time) {
    let server = &call.server;
    let took = server.env.now().since(started);
    let code = response.status().as_u16();
    server.metrics.request(call.verb, &call.target, code, took);
    tracing::debug!(
        audit_id = server.next_audit_id(),
        user = %call.user.name,
        verb = call.verb,
        path = %call.head.uri,
        code,
        notes = ?*call.notes(),
        micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        "request"
    );
}
