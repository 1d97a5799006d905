//! GET of one object.

use std::sync::Arc;
use std::time::Duration;

use api_client::Response;
use store::Revision;

use crate::pipeline::commit::Written;
use crate::refuse::{Outcome, bad_request, not_found, too_large_revision};
use crate::registry::Served;
use crate::represent;
use crate::server::Call;
use crate::stored;

/// How long a read waits for a revision that has not come yet.
const FRESHNESS_WAIT: Duration = Duration::from_secs(3);

/// GET of one object.
pub(crate) async fn get(call: &Call, served: &Arc<Served>) -> Outcome<Response> {
    let accept = call.accepted()?;
    let asked = revision(call.query.get("resourceVersion"))?;
    wait_for(call, asked).await?;
    let found = call.server.store.get(&call.key(served));
    let found = found.ok_or_else(|| not_found(&served.resource, &call.target.name))?;
    let plain = stored::unpack(&found)?;
    let written = Written { plain, revision: found.revision, is_gone: false };
    represent::written(call, served, &written, accept, 200).await
}

/// A revision as clients write it; zero when absent.
pub(crate) fn revision(text: &str) -> Outcome<Revision> {
    if text.is_empty() {
        return Ok(Revision(0));
    }
    text.parse().map(Revision).map_err(|_| {
        bad_request(format!(
            "invalid resource version: resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: \
             invalid syntax"
        ))
    })
}

/// Waits until a revision is there.
pub(crate) async fn wait_for(call: &Call, asked: Revision) -> Outcome<()> {
    let server = &call.server;
    if asked <= server.store.revision() || server.store.wait_for(asked, &server.env, FRESHNESS_WAIT).await {
        return Ok(());
    }
    Err(too_large_revision(asked.0, server.store.revision().0))
}
