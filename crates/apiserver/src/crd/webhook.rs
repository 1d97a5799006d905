//! Conversion by a webhook: ConversionReview (apiextensions.k8s.io/v1 and v1beta1) over HTTPS.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use serde_json::{Value, json};
use stdx::{BoxFuture, Env};

use super::{text, texts};
use crate::registry::Convert;
use crate::webhook::{Caller, Post, Target};

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of an answer: a page of objects.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// The webhook that a definition names.
#[derive(Clone)]
pub(super) struct Webhook {
    target: Target,
    authorities: Bytes,
    /// `apiVersion` of the reviews it takes.
    review: &'static str,
    caller: Arc<Caller>,
    env: Env,
}

impl Webhook {
    /// The webhook of a definition with that strategy.
    pub(super) fn of(definition: &Value, caller: &Arc<Caller>, env: &Env) -> Option<Webhook> {
        let conversion = &definition["spec"]["conversion"];
        if conversion["strategy"] != "Webhook" {
            return None;
        }
        let webhook = &conversion["webhook"];
        let client = &webhook["clientConfig"];
        let bundle =
            base64::engine::general_purpose::STANDARD.decode(text(client, "/caBundle")).unwrap_or_default();
        let versions = texts(&webhook["conversionReviewVersions"]);
        let first = versions.iter().find(|v| matches!(v.as_str(), "v1" | "v1beta1"));
        let review = match first.map(String::as_str) {
            Some("v1beta1") => "apiextensions.k8s.io/v1beta1",
            _ => "apiextensions.k8s.io/v1",
        };
        Some(Webhook {
            target: Target::read(client)?,
            authorities: bundle.into(),
            review,
            caller: caller.clone(),
            env: env.clone(),
        })
    }

    async fn review(&self, objects: Vec<Value>, api_version: &str) -> Result<Vec<Value>, String> {
        let uid = stdx::uid(&*self.env.rng);
        let review = json!({
            "kind": "ConversionReview", "apiVersion": self.review,
            "request": {"uid": uid, "desiredAPIVersion": api_version, "objects": objects},
        });
        let post = Post {
            target: &self.target,
            bundle: &self.authorities,
            query: format!("timeout={}s", TIMEOUT.as_secs()),
            body: review.to_string().into(),
            timeout: TIMEOUT,
            answer_bytes_max: ANSWER_BYTES_MAX,
        };
        let answer = self.caller.post(&post).await?;
        let answer: Value = serde_json::from_slice(&answer).map_err(|e| format!("read the answer: {e}"))?;
        converted(&answer, &uid, &objects, api_version)
    }
}

impl Convert for Webhook {
    fn convert(&self, objects: Vec<Value>, api_version: String) -> BoxFuture<Result<Vec<Value>, String>> {
        let webhook = self.clone();
        Box::pin(async move { webhook.review(objects, &api_version).await })
    }
}

/// The objects of an answer, if it is one: same number, same identities, wanted version.
fn converted(answer: &Value, uid: &str, asked: &[Value], api_version: &str) -> Result<Vec<Value>, String> {
    let response = &answer["response"];
    if response["uid"] != uid {
        return Err(format!("expected response.uid {uid:?}, got {}", response["uid"]));
    }
    if response["result"]["status"] != "Success" {
        let why = text(response, "/result/message");
        return Err(if why.is_empty() {
            "the webhook refused and did not say why".to_owned()
        } else {
            why.to_owned()
        });
    }
    let objects = response["convertedObjects"].as_array().cloned().unwrap_or_default();
    if objects.len() != asked.len() {
        return Err(format!("expected {} converted objects, got {}", asked.len(), objects.len()));
    }
    for (i, (got, asked)) in objects.iter().zip(asked).enumerate() {
        if got["apiVersion"] != api_version {
            return Err(format!(
                "convertedObjects[{i}] is in {}, expected {api_version:?}",
                got["apiVersion"]
            ));
        }
        for pointer in ["/kind", "/metadata/name", "/metadata/namespace", "/metadata/uid"] {
            if got.pointer(pointer) != asked.pointer(pointer) {
                return Err(format!("convertedObjects[{i}]{} must not change", pointer.replace('/', ".")));
            }
        }
    }
    Ok(objects)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_must_be_about_what_was_asked() {
        let asked = [json!({"apiVersion": "a/v1", "kind": "W", "metadata": {"name": "x", "uid": "u"}})];
        let answer = |object: Value| json!({"response": {"uid": "1", "result": {"status": "Success"}, "convertedObjects": [object]}});
        let good = json!({"apiVersion": "a/v2", "kind": "W", "metadata": {"name": "x", "uid": "u"}});
        assert_eq!(converted(&answer(good.clone()), "1", &asked, "a/v2"), Ok(vec![good.clone()]));
        assert!(converted(&answer(good.clone()), "2", &asked, "a/v2").is_err(), "another answer");
        assert!(converted(&answer(good), "1", &asked, "a/v3").is_err(), "another version");
        let renamed = json!({"apiVersion": "a/v2", "kind": "W", "metadata": {"name": "y", "uid": "u"}});
        assert!(converted(&answer(renamed), "1", &asked, "a/v2").is_err(), "another object");
        let refused = json!({"response": {"uid": "1", "result": {"status": "Failed", "message": "no way"}}});
        assert_eq!(converted(&refused, "1", &asked, "a/v2"), Err("no way".to_owned()));
    }
}
