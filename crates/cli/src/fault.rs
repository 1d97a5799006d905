//! Errors in the words of kubectl, with what to do.

use api_client::Error;
use api_meta::Status;

/// The lines for stderr about an error that ended a verb.
pub(crate) fn text(error: &anyhow::Error) -> String {
    match error.downcast_ref::<Error>() {
        Some(Error::Refused(status)) => refused(status),
        Some(Error::Unreachable(why)) => format!(
            "error: reach the API server: {why}\n\
             Is it running? `knarr up` starts one; --kubeconfig FILE names another."
        ),
        _ => format!("error: {error:#}"),
    }
}

fn refused(status: &Status) -> String {
    let reason = if status.reason.is_empty() { "Unknown" } else { &status.reason };
    let line = format!("Error from server ({reason}): {status}");
    match hint(reason) {
        Some(hint) => format!("{line}\n{hint}"),
        None => line,
    }
}

fn hint(reason: &str) -> Option<&'static str> {
    match reason {
        "Unauthorized" => {
            Some("The server does not know this user: is the kubeconfig of another or an older cluster?")
        }
        "Forbidden" => Some("Ask for the permission, or use the kubeconfig of somebody who has it."),
        "TooManyRequests" | "ServiceUnavailable" => Some("The server is busy; try again in a moment."),
        _ => None,
    }
}
