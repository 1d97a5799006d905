//! Webhooks of admission, asked over TLS on loopback.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected should end")]

mod failures;
mod mutating;
mod validating;

use std::sync::{Arc, Mutex};

use apiserver::auth::Authenticator;
use base64::Engine as _;
use serde_json::{Value, json};

use crate::fixture::World;

/// What a webhook answers to a request of a review: the response without its uid.
type Judge = Arc<dyn Fn(&Value) -> Value + Send + Sync>;

/// A webhook on loopback.
pub(crate) struct Hook {
    address: std::net::SocketAddr,
    authority: String,
    asked: Arc<Mutex<Vec<Value>>>,
    _end: tokio::sync::watch::Sender<bool>,
}

impl Hook {
    /// Starts one whose certificate is for these names.
    pub(crate) async fn named(
        names: &[&str],
        judge: impl Fn(&Value) -> Value + Send + Sync + 'static,
    ) -> Hook {
        let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
        Hook::certified(rcgen::CertificateParams::new(names).unwrap(), judge).await
    }

    /// Starts one with such a certificate, signed by itself.
    pub(crate) async fn certified(
        params: rcgen::CertificateParams,
        judge: impl Fn(&Value) -> Value + Send + Sync + 'static,
    ) -> Hook {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tls = apiserver::net::Tls {
            chain: vec![certificate.der().clone()],
            key: rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            client_authorities: vec![certificate.der().clone()],
        };
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (seen, judge): (_, Judge) = (asked.clone(), Arc::new(judge));
        let handler: apiserver::net::Handler = Arc::new(move |_, request: api_client::Request| {
            let (seen, judge) = (seen.clone(), judge.clone());
            Box::pin(async move {
                let review: Value = serde_json::from_slice(request.body()).unwrap();
                seen.lock().unwrap().push(review["request"].clone());
                let mut response = judge(&review["request"]);
                response["uid"] = review["request"]["uid"].clone();
                let answer = json!({
                    "apiVersion": review["apiVersion"], "kind": "AdmissionReview", "response": response
                });
                http::Response::new(api_client::Body::Full(answer.to_string().into()))
            })
        });
        let (_end, stop) = tokio::sync::watch::channel(false);
        let authenticator = Arc::new(Authenticator::new());
        let limits = apiserver::net::Limits::default();
        let serve = apiserver::net::serve(listener, tls, authenticator, handler, limits, stop);
        tokio::spawn(async move { serve.await.unwrap() });
        Hook { address, authority: certificate.pem(), asked, _end }
    }

    /// Starts one for 127.0.0.1.
    pub(crate) async fn start(judge: impl Fn(&Value) -> Value + Send + Sync + 'static) -> Hook {
        Hook::named(&["127.0.0.1"], judge).await
    }

    /// What it was asked, in order; forgets it.
    pub(crate) fn asked(&self) -> Vec<Value> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    /// `clientConfig` with its URL.
    pub(crate) fn client(&self) -> Value {
        json!({"url": format!("https://{}/ask", self.address), "caBundle": self.bundle()})
    }

    /// Its authority as configurations hold it.
    pub(crate) fn bundle(&self) -> String {
        base64::engine::general_purpose::STANDARD.encode(&self.authority)
    }
}

/// Yes.
fn allow(_: &Value) -> Value {
    json!({"allowed": true})
}

/// Yes, with this changed.
fn patch(operations: &Value) -> Value {
    let patch = base64::engine::general_purpose::STANDARD.encode(operations.to_string());
    json!({"allowed": true, "patchType": "JSONPatch", "patch": patch})
}

/// A webhook for config maps of the test namespace, with more said of it.
fn hook(name: &str, client: Value, more: Value) -> Value {
    let mut hook = json!({
        "name": format!("{name}.example.com"), "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "clientConfig": client, "timeoutSeconds": 5,
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"]}]
    });
    hook.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    hook
}

async fn configure(w: &World, kind: &str, name: &str, hooks: Vec<Value>) {
    let path = format!("/apis/admissionregistration.k8s.io/v1/{}s", kind.to_lowercase());
    let object = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "webhooks": hooks
    });
    let made = w.post(&path, object).await;
    assert!(made.warnings.is_empty(), "{:?}", made.warnings);
    made.created();
}

/// Registers mutating hooks.
async fn mutating(w: &World, name: &str, hooks: Vec<Value>) {
    configure(w, "MutatingWebhookConfiguration", name, hooks).await;
}

/// Registers validating hooks.
async fn validating(w: &World, name: &str, hooks: Vec<Value>) {
    configure(w, "ValidatingWebhookConfiguration", name, hooks).await;
}
