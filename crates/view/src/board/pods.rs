//! One pod as a tile: what state it is in, and why in a few words.

use std::time::Duration;

use serde::Serialize;
use stdx::Time;

use super::facts::{NodeFact, PodFact};

/// What a pod is doing, as far as its users are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It answers requests.
    Serving,
    /// It gets no new requests, and open ones end.
    Draining,
    /// It is out of service while its containers are changed.
    Updating,
    /// It comes up.
    Starting,
    /// It is being deleted.
    Leaving,
    /// Its containers cannot run.
    Failing,
    /// Its node does not answer.
    Lost,
}

/// The tile of a pod.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PodView {
    /// Application, as `NAMESPACE/NAME`.
    pub app: String,
    /// Cell.
    pub cell: String,
    /// Name.
    pub name: String,
    /// Node; empty while it has none.
    pub node: String,
    /// Address.
    pub ip: String,
    /// State.
    pub state: State,
    /// Why, in a few words; empty when the state says all.
    pub detail: String,
    /// Version in the user's words.
    pub version: String,
    /// It is of the version being released.
    pub fresh: bool,
    /// Restarts of its containers.
    pub restarts: i64,
    /// Since when it is ready or exists, milliseconds since the epoch.
    pub since: Option<i64>,
}

/// What is known of the node of a pod.
#[derive(Clone, Copy, Debug)]
pub(super) enum Host<'a> {
    /// Nothing yet.
    Unknown,
    /// It is not there any more.
    Gone,
    /// It is there.
    Known(&'a NodeFact),
}

/// State of a pod with the reason for it.
pub(super) fn state(pod: &PodFact, host: Host<'_>, now: Time) -> (State, String) {
    match host {
        Host::Gone if !pod.node.is_empty() => return (State::Lost, format!("{} is gone", pod.node)),
        Host::Known(node) if node.is_lost() => {
            return (State::Lost, format!("{} does not answer", node.name));
        }
        _ => {}
    }
    if pod.is_terminating || pod.closed.is_some() {
        return leaving(pod, now);
    }
    if let Some(trouble) = &pod.trouble {
        return (State::Failing, trouble.clone());
    }
    match pod.missing.as_slice() {
        [] if pod.is_ready => (State::Serving, String::new()),
        [] if pod.node.is_empty() => (State::Starting, "has no node yet".to_owned()),
        [] => (State::Starting, "is not ready yet".to_owned()),
        missing => (State::Starting, format!("waits until {} sends traffic again", missing.join(", "))),
    }
}

/// A pod that is out of service on purpose.
fn leaving(pod: &PodFact, now: Time) -> (State, String) {
    if !pod.protections.is_empty() {
        let from = pod.protections.join(", ");
        let due = pod.closed.flatten().map(|at| at + Duration::from_secs(pod.deadline_secs));
        return match due {
            Some(due) if due <= now => (State::Draining, format!("overdue: {from} still sends traffic")),
            _ => (State::Draining, format!("open requests of {from} end")),
        };
    }
    match &pod.trouble {
        _ if pod.is_terminating => (State::Leaving, "is being deleted".to_owned()),
        Some(trouble) => (State::Failing, trouble.clone()),
        None => (State::Updating, "new process starts".to_owned()),
    }
}

/// The version in an image's name: its tag, or the start of its digest, or the whole name.
pub(super) fn version(image: &str) -> &str {
    if let Some((_, digest)) = image.split_once("@sha256:") {
        return digest.get(..8).unwrap_or(digest);
    }
    let name = image.rsplit('/').next().unwrap_or(image);
    name.split_once(':').map_or(name, |(_, tag)| tag)
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn a_version_is_what_people_call_it() {
        let told =
            ["shop:v2", "registry:5000/a/shop:1.4", "shop", "shop@sha256:0123456789abcdef", "r:5000/shop"];
        assert_eq!(told.map(version), ["v2", "1.4", "shop", "01234567", "shop"]);
    }
}
