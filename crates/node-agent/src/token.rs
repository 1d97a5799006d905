//! Tokens of service accounts that volumes ask for: requested for the pod, and again before they expire.

use std::time::Duration;

use api_client::Client;
use api_core::Pod;
use api_meta::Resource;
use serde_json::{Value, json};
use stdx::{Env, Time};

use crate::runtime::Refusal;

const ACCOUNTS: Resource = Resource::namespaced("", "v1", "serviceaccounts", "ServiceAccount");
/// Life of a token whose volume names none.
const LIFE_SECS: i64 = 3600;
/// No token is kept longer, however long it lives; the kubelet does so, too.
const AGE_MAX: Duration = Duration::from_secs(24 * 3600);

/// What a volume wants.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wanted {
    /// Whom the token is for; the API server itself when empty.
    pub(crate) audience: String,
    /// How long it shall live.
    pub(crate) life_secs: i64,
}

impl Wanted {
    /// Of a source of a projected volume, if it is one of tokens.
    pub(crate) fn of(source: &Value) -> Option<Wanted> {
        let source = source.get("serviceAccountToken").filter(|s| s.is_object())?;
        Some(Wanted {
            audience: source["audience"].as_str().unwrap_or_default().to_owned(),
            life_secs: source["expirationSeconds"].as_i64().unwrap_or(LIFE_SECS),
        })
    }
}

/// A token, and when the next one is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) renew_at: Time,
}

/// Asks for a token that ends with the pod.
pub(crate) async fn request(
    client: &Client,
    env: &Env,
    pod: &Pod,
    wanted: &Wanted,
) -> Result<Token, Refusal> {
    let account = pod.spec.service_account_name.as_str();
    let audiences: Vec<&str> = [wanted.audience.as_str()].into_iter().filter(|a| !a.is_empty()).collect();
    let bound =
        json!({"apiVersion": "v1", "kind": "Pod", "name": pod.metadata.name, "uid": pod.metadata.uid});
    let body = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {"audiences": audiences, "expirationSeconds": wanted.life_secs, "boundObjectRef": bound},
    });
    let asked = env.now();
    let key = (pod.metadata.namespace.as_str(), account);
    let answer: Result<Value, _> = client.post(&ACCOUNTS, key, "token", &body).await;
    let refused = |why: &dyn std::fmt::Display| {
        Refusal::new("FailedMount", format!("get a token of service account {account}: {why}"))
    };
    let answer = answer.map_err(|e| refused(&e))?;
    let text = answer["status"]["token"].as_str().filter(|t| !t.is_empty());
    let end = answer["status"]["expirationTimestamp"].as_str().and_then(|t| t.parse::<Time>().ok());
    match (text, end) {
        (Some(text), Some(end)) => Ok(Token { text: text.to_owned(), renew_at: renewal(asked, end) }),
        _ => Err(refused(&"the answer holds none")),
    }
}

/// When four fifths of a token's life are over, and after a day at the latest.
fn renewal(issued: Time, end: Time) -> Time {
    issued + (end.since(issued) * 4 / 5).min(AGE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_due_after_four_fifths_of_its_life_and_after_a_day_at_the_latest() {
        let at = Time::from_secs;
        assert_eq!(renewal(at(1_000), at(4_600)), at(3_880));
        assert_eq!(renewal(at(0), at(1_000_000)), at(86_400));
        assert_eq!(renewal(at(5), at(5)), at(5));
    }
}
