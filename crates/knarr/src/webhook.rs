//! The conversion webhook of the workloads role, for API servers that know our kinds only as CustomResourceDefinitions.
//!
//! It listens on loopback with a certificate of its own authority and writes address and authority into the definitions it
//! serves, so that a restart with new keys or another port repairs itself. On a server that converts in process
//! (`knarr up`) it is not started.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use api_client::{Body, Class, Client, Patch, Request, Response, WriteOptions};
use api_meta::Resource;
use apiserver::auth::Authenticator;
use apiserver::net;
use serde_json::{Value, json};
use stdx::Env;
use tokio::sync::watch;

const CRDS: Resource =
    Resource::cluster("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition");
/// How often the definitions are looked at: somebody may have applied them anew without the address.
const REPAIR_EVERY: Duration = Duration::from_secs(10);

/// Serves conversions until `stop`, and keeps the definitions pointing here.
pub(crate) async fn run(
    client: Client,
    env: Env,
    dir: &Path,
    listen: SocketAddr,
    service: Option<Service>,
    stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let authority = pki::Authority::open(dir, &env)?;
    let listener = tokio::net::TcpListener::bind(listen).await.with_context(|| {
        format!("listen for conversions on {listen}: choose another with --webhook-listen")
    })?;
    let address = listener.local_addr()?;
    let mut hosts = vec![address.ip().to_string(), "localhost".to_owned()];
    hosts.extend(service.as_ref().map(|s| format!("{}.{}.svc", s.name, s.namespace)));
    let subject = pki::Subject { name: "knarr-conversion", groups: &[], hosts: &hosts };
    let identity = authority.server("conversion", &subject, &env)?;
    let tls = net::Tls {
        chain: pki::certificates(&identity.cert_pem),
        key: pki::private_key(&identity.key_pem).context("read the key just made")?,
        client_authorities: pki::certificates(authority.ca_pem()),
    };
    let registration = registration(address, service.as_ref(), authority.ca_pem());
    let repairing = env.clone();
    env.spawn("register conversion", async move { keep_registered(&client, &repairing, registration).await });
    let handler: net::Handler = Arc::new(|_, request| Box::pin(async move { answer(&request) }));
    tracing::info!(%address, "converting between versions");
    net::serve(listener, tls, Arc::new(Authenticator::new()), handler, net::Limits::default(), stop).await?;
    Ok(())
}

/// The Service by which an API server reaches the webhook, port 443.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    namespace: String,
    name: String,
}

impl std::str::FromStr for Service {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Service> {
        let (namespace, name) = text.split_once('/').context("expected NAMESPACE/NAME")?;
        Ok(Service { namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

fn registration(address: SocketAddr, service: Option<&Service>, ca_pem: &str) -> Value {
    use base64::Engine as _;
    let ca = base64::engine::general_purpose::STANDARD.encode(ca_pem);
    let mut config = match service {
        Some(s) => {
            json!({"service": {"namespace": s.namespace, "name": s.name, "path": "/convert", "port": 443}})
        }
        None => json!({"url": format!("https://{address}/convert")}),
    };
    config["caBundle"] = json!(ca);
    json!({"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": config}})
}

/// Names of the definitions whose versions differ in shape.
fn converted() -> impl Iterator<Item = String> {
    let several = |crd: &Value| crd["spec"]["versions"].as_array().is_some_and(|v| v.len() > 1);
    let named = |crd: Value| crd["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    crate::kinds::crds().into_iter().filter(move |crd| several(crd)).map(named)
}

async fn keep_registered(client: &Client, env: &Env, registration: Value) {
    loop {
        for name in converted() {
            if let Err(error) = register(client, &name, &registration).await
                && error.class() != Class::NotFound
            {
                tracing::warn!(%name, %error, "register the conversion; trying again");
            }
        }
        env.sleep(REPAIR_EVERY).await;
    }
}

async fn register(client: &Client, name: &str, registration: &Value) -> Result<(), api_client::Error> {
    let crd: Value = client.get(&CRDS, "", name).await?;
    if crd["spec"]["conversion"] == *registration {
        return Ok(());
    }
    let patch = Patch::Merge(json!({"spec": {"conversion": registration}}));
    let _: Value = client.patch(&CRDS, ("", name), "", &patch, &WriteOptions::default()).await?;
    tracing::info!(%name, "registered the conversion");
    Ok(())
}

/// Answers a ConversionReview (apiextensions.k8s.io/v1).
fn answer(request: &Request) -> Response {
    let (code, body) = match serde_json::from_slice::<Value>(request.body()) {
        Ok(review) if request.uri().path() == "/convert" => (200, review_answer(&review)),
        Ok(_) => (404, json!({"message": "only /convert is here"})),
        Err(e) => (400, json!({"message": format!("not a ConversionReview: {e}")})),
    };
    let mut response = Response::new(Body::Full(body.to_string().into()));
    *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or_default();
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, json);
    response
}

fn review_answer(review: &Value) -> Value {
    let request = &review["request"];
    let desired = request["desiredAPIVersion"].as_str().unwrap_or_default();
    let objects = request["objects"].as_array().cloned().unwrap_or_default();
    let converted: Result<Vec<Value>, String> = objects.into_iter().map(|o| convert(o, desired)).collect();
    let mut response = json!({"uid": request["uid"]});
    match converted {
        Ok(objects) => {
            response["convertedObjects"] = Value::Array(objects);
            response["result"] = json!({"status": "Success"});
        }
        Err(message) => response["result"] = json!({"status": "Failure", "message": message}),
    }
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": response})
}

/// One object in another version; `desired` is a whole `apiVersion`.
pub(crate) fn convert(object: Value, desired: &str) -> Result<Value, String> {
    let version = |api_version: &str| api_version.rsplit('/').next().unwrap_or_default().to_owned();
    let from = version(object["apiVersion"].as_str().unwrap_or_default());
    let to = version(desired);
    match object["kind"].as_str() {
        Some("CloneSet") => api_workload::convert(object, &from, &to),
        Some("PodUnavailableBudget") => api_workload::unavailable_budget::convert_budget(object, &from, &to),
        kind => Err(format!("kind {} is not converted here", kind.unwrap_or("without a name"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_review_is_answered_object_by_object() {
        let set = json!({"apiVersion": "apps.kruise.io/v1alpha1", "kind": "CloneSet", "metadata": {"name": "a"}, "spec": {}});
        let review =
            json!({"request": {"uid": "u", "desiredAPIVersion": "apps.kruise.io/v1beta1", "objects": [set]}});
        let answer = review_answer(&review);
        assert_eq!(answer["response"]["uid"], "u");
        assert_eq!(answer["response"]["result"]["status"], "Success");
        assert_eq!(answer["response"]["convertedObjects"][0]["apiVersion"], "apps.kruise.io/v1beta1");
    }

    #[test]
    fn a_foreign_kind_is_refused_with_its_name() {
        let error = convert(json!({"apiVersion": "v1", "kind": "Pod"}), "v2").unwrap_err();
        assert!(error.contains("Pod"), "{error}");
    }
}
