//! Conversion by a webhook: ConversionReview (apiextensions.k8s.io/v1) over HTTPS.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use stdx::{BoxFuture, Env};
use store::{Key, KeyRange, Store};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::text;
use crate::registry::Convert;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of an answer: a page of objects.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// The webhook that a definition names.
#[derive(Clone)]
pub(super) struct Webhook {
    target: Target,
    authorities: Vec<u8>,
    store: Store,
    env: Env,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Url { host: String, port: u16, path: String },
    Service { namespace: String, name: String, port: u16, path: String },
}

impl Webhook {
    /// The webhook of a definition with that strategy.
    pub(super) fn of(definition: &Value, store: &Store, env: &Env) -> Option<Webhook> {
        let conversion = &definition["spec"]["conversion"];
        if conversion["strategy"] != "Webhook" {
            return None;
        }
        let client = &conversion["webhook"]["clientConfig"];
        let bundle =
            base64::engine::general_purpose::STANDARD.decode(text(client, "/caBundle")).unwrap_or_default();
        Some(Webhook { target: target(client)?, authorities: bundle, store: store.clone(), env: env.clone() })
    }

    async fn review(&self, objects: Vec<Value>, api_version: &str) -> Result<Vec<Value>, String> {
        let uid = stdx::uid(&*self.env.rng);
        let review = json!({
            "kind": "ConversionReview", "apiVersion": "apiextensions.k8s.io/v1",
            "request": {"uid": uid, "desiredAPIVersion": api_version, "objects": objects},
        });
        let answer = tokio::select! {
            biased;
            answer = self.post(review.to_string()) => answer?,
            () = self.env.sleep(TIMEOUT) => return Err(format!("no answer within {} s", TIMEOUT.as_secs())),
        };
        let answer: Value = serde_json::from_slice(&answer).map_err(|e| format!("read the answer: {e}"))?;
        converted(&answer, &uid, &objects, api_version)
    }

    async fn post(&self, body: String) -> Result<Bytes, String> {
        let (address, host, path) = self.reach()?;
        let io = self.connect(&address, &host).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io)
            .await
            .map_err(|e| format!("speak HTTP with {address}: {e}"))?;
        self.env.spawn("conversion connection", async move {
            let _ = connection.await;
        });
        let request = http::Request::post(path)
            .header(http::header::HOST, &host)
            .header(http::header::CONTENT_TYPE, "application/json")
            .header(http::header::ACCEPT, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|e| e.to_string())?;
        let response = sender.send_request(request).await.map_err(|e| format!("ask {address}: {e}"))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|e| format!("read the answer of {address}: {e}"))?.to_bytes();
        if status.is_success() { Ok(body) } else { Err(format!("{address} answered {status}")) }
    }

    async fn connect(
        &self,
        address: &str,
        host: &str,
    ) -> Result<TokioIo<tokio_rustls::client::TlsStream<TcpStream>>, String> {
        let config = self.tls()?;
        let name = ServerName::try_from(host.to_owned()).map_err(|e| format!("{host}: {e}"))?;
        let stream = TcpStream::connect(address).await.map_err(|e| format!("connect to {address}: {e}"))?;
        let secured = TlsConnector::from(config).connect(name, stream).await;
        secured.map(TokioIo::new).map_err(|e| format!("secure the connection to {address}: {e}"))
    }

    fn tls(&self) -> Result<Arc<rustls::ClientConfig>, String> {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&self.authorities) {
            let certificate = certificate.map_err(|e| format!("read caBundle: {e}"))?;
            roots.add(certificate).map_err(|e| format!("take an authority from caBundle: {e}"))?;
        }
        if roots.is_empty() {
            return Err("caBundle is empty: put the authority of the webhook's certificate there".to_owned());
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|e| e.to_string())?;
        Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
    }

    /// Address to connect to, name to check the certificate against, path to post to.
    fn reach(&self) -> Result<(String, String, String), String> {
        match &self.target {
            Target::Url { host, port, path } => {
                let shown =
                    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
                Ok((shown, host.clone(), path.clone()))
            }
            Target::Service { namespace, name, port, path } => {
                let address = endpoint(&self.store, namespace, name, *port)?;
                Ok((address, format!("{name}.{namespace}.svc"), path.clone()))
            }
        }
    }
}

impl Convert for Webhook {
    fn convert(&self, objects: Vec<Value>, api_version: String) -> BoxFuture<Result<Vec<Value>, String>> {
        let webhook = self.clone();
        Box::pin(async move { webhook.review(objects, &api_version).await })
    }
}

fn target(client: &Value) -> Option<Target> {
    if let Some(url) = client["url"].as_str() {
        let uri: http::Uri = url.parse().ok()?;
        let host = uri.host()?.trim_matches(['[', ']']).to_owned();
        let path = uri.path_and_query().map_or("/".to_owned(), |p| p.as_str().to_owned());
        return Some(Target::Url { host, port: uri.port_u16().unwrap_or(443), path });
    }
    let service = client.get("service")?;
    let path = text(service, "/path");
    Some(Target::Service {
        namespace: text(service, "/namespace").to_owned(),
        name: text(service, "/name").to_owned(),
        port: service["port"].as_u64().and_then(|p| u16::try_from(p).ok()).unwrap_or(443),
        path: if path.is_empty() { "/".to_owned() } else { path.to_owned() },
    })
}

/// A ready endpoint of a Service, found in the store: this works before any proxy does.
fn endpoint(store: &Store, namespace: &str, name: &str, port: u16) -> Result<String, String> {
    let service = store.get(&Key::new("services", namespace, name));
    let service = service.and_then(|s| crate::stored::decode(&s).ok());
    let service = service.ok_or_else(|| format!("service {namespace}/{name} not found"))?;
    let ports = service["spec"]["ports"].as_array().into_iter().flatten();
    let wanted = ports.clone().find(|p| p["port"] == port);
    let wanted = wanted.ok_or_else(|| format!("service {namespace}/{name} has no port {port}"))?;
    let port_name = wanted["name"].as_str().unwrap_or_default();
    let range =
        KeyRange { resource: "endpointslices.discovery.k8s.io".into(), namespace: Some(namespace.into()) };
    let of_service = |s: &store::Stored| {
        s.row.labels.iter().any(|(k, v)| &**k == "kubernetes.io/service-name" && **v == *name)
    };
    let slices = store.list(&range, None, None, 0, Some(&of_service)).map_err(|e| e.to_string())?;
    for slice in slices.items.iter().filter_map(|s| crate::stored::decode(s).ok()) {
        let mut ports = slice["ports"].as_array().into_iter().flatten();
        let number = ports
            .find(|p| p["name"].as_str().unwrap_or_default() == port_name)
            .and_then(|p| p["port"].as_u64());
        let mut endpoints = slice["endpoints"].as_array().into_iter().flatten();
        let ready =
            endpoints.find(|e| e["conditions"]["ready"] != false).and_then(|e| e["addresses"][0].as_str());
        if let (Some(address), Some(number)) = (ready, number) {
            return Ok(format!("{address}:{number}"));
        }
    }
    Err(format!("service {namespace}/{name} has no ready endpoint"))
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
    fn urls_and_services_are_read() {
        let url = json!({"url": "https://[::1]:8443/convert?x=1"});
        let expected = Target::Url { host: "::1".to_owned(), port: 8443, path: "/convert?x=1".to_owned() };
        assert_eq!(target(&url), Some(expected));
        let service = json!({"service": {"namespace": "a", "name": "b"}});
        let expected = Target::Service {
            namespace: "a".to_owned(),
            name: "b".to_owned(),
            port: 443,
            path: "/".to_owned(),
        };
        assert_eq!(target(&service), Some(expected));
    }

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
