//! Typed verbs over a transport.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use api_meta::{ObjectMeta, Resource, Status};
use bytes::Bytes;
use http::{Method, header};
use serde::Deserialize;
use serde::de::{DeserializeOwned, Error as _};
use serde_json::{Value, json};

use crate::watch::{WatchOptions, WatchStream};
use crate::{Error, Response, Transport};

const JSON: &str = "application/json";

/// Calls an API server in the name of one component; cheap to clone.
#[derive(Clone)]
pub struct Client {
    transport: Arc<dyn Transport>,
    agent: Arc<str>,
    /// Media types asked for: of lists, of everything else.
    accept: [&'static str; 2],
}

/// One page, or all, of a collection.
#[derive(Debug, Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
pub struct List<T> {
    /// Version and continuation of the list.
    #[serde(default)]
    pub metadata: ListMeta,
    /// The objects.
    #[serde(default = "Vec::new", deserialize_with = "items_or_null")]
    pub items: Vec<T>,
}

/// An empty list of metadata comes as null.
fn items_or_null<'de, D, T>(d: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::deserialize(d)?.unwrap_or_default())
}

/// Metadata of a list.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListMeta {
    /// Version of the snapshot the list was taken at.
    pub resource_version: String,
    /// Token of the next page; empty on the last.
    pub r#continue: String,
    /// How many objects are left, if known.
    pub remaining_item_count: Option<i64>,
}

/// Which objects to list.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// Label selector in text form; empty for all.
    pub labels: String,
    /// Field selector in text form; empty for all.
    pub fields: String,
    /// Objects per page; 0 for all at once.
    pub limit: usize,
    /// Token of the page wanted.
    pub r#continue: String,
    /// Smallest acceptable version; empty for the newest.
    pub resource_version: String,
}

/// How to write.
#[derive(Clone, Debug, Default)]
pub struct WriteOptions {
    /// Name recorded in managedFields; empty for the user agent's.
    pub manager: String,
    /// Check and answer without storing.
    pub dry_run: bool,
    /// Take over fields of other managers (apply only).
    pub force: bool,
    /// `Ignore`, `Warn` or `Strict`; empty for the server's default.
    pub validation: &'static str,
}

/// A change to an object, in one of the four forms of the API.
#[derive(Clone, Debug)]
pub enum Patch {
    /// RFC 6902.
    Json(Value),
    /// RFC 7386.
    Merge(Value),
    /// Kubernetes' own; built-in kinds only.
    Strategic(Value),
    /// Server-side apply.
    Apply(Value),
}

/// How to delete.
#[derive(Clone, Debug, Default)]
pub struct DeleteOptions {
    /// Only the object with this identity; empty for any.
    pub uid: String,
    /// Only this version; empty for any.
    pub resource_version: String,
    /// Seconds of grace; the object's own when absent.
    pub grace_period_seconds: Option<i64>,
    /// `Foreground`, `Background`, `Orphan`; the kind's own when empty.
    pub propagation: &'static str,
    /// Check and answer without deleting.
    pub dry_run: bool,
}

impl Client {
    /// A client that calls itself `agent`, which is also its default field manager.
    pub fn new(transport: Arc<dyn Transport>, agent: &str) -> Client {
        Client { transport, agent: agent.into(), accept: [JSON; 2] }
    }

    /// The same connection under another name.
    pub fn named(&self, agent: &str) -> Client {
        Client { agent: agent.into(), ..self.clone() }
    }

    /// The name it calls itself.
    pub fn agent(&self) -> &str {
        &self.agent
    }

    /// Reads one object.
    pub async fn get<T: DeserializeOwned>(&self, r: &Resource, ns: &str, name: &str) -> Result<T, Error> {
        self.json_as(self.accept[1], Method::GET, &r.object_path(ns, name), &[], None).await
    }

    /// Lists a collection; all namespaces when `ns` is empty.
    pub async fn list<T: DeserializeOwned>(
        &self,
        r: &Resource,
        ns: &str,
        o: &ListOptions,
    ) -> Result<List<T>, Error> {
        let limit = if o.limit == 0 { String::new() } else { o.limit.to_string() };
        let query = [
            ("labelSelector", o.labels.as_str()),
            ("fieldSelector", o.fields.as_str()),
            ("limit", limit.as_str()),
            ("continue", o.r#continue.as_str()),
            ("resourceVersion", o.resource_version.as_str()),
        ];
        self.json_as(self.accept[0], Method::GET, &r.collection_path(ns), &query, None).await
    }

    /// Watches a collection from a version on.
    pub async fn watch<T: DeserializeOwned + Send + 'static>(
        &self,
        r: &Resource,
        ns: &str,
        o: &WatchOptions,
    ) -> Result<WatchStream<T>, Error> {
        let path = r.collection_path(ns);
        let timeout = o.timeout_seconds.map_or_else(String::new, |t| t.to_string());
        let query = [
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("labelSelector", o.labels.as_str()),
            ("fieldSelector", o.fields.as_str()),
            ("resourceVersion", o.resource_version.as_str()),
            ("timeoutSeconds", timeout.as_str()),
        ];
        let response = self.send_as(self.accept[1], Method::GET, &path, &query, None).await?;
        Ok(crate::watch::decode(response, path))
    }

    /// Creates an object.
    pub async fn create<T: DeserializeOwned>(
        &self,
        r: &Resource,
        ns: &str,
        body: &Value,
        o: &WriteOptions,
    ) -> Result<T, Error> {
        let body = Some(("application/json", encode(body)?));
        self.json(Method::POST, &r.collection_path(ns), &o.query(), body).await
    }

    /// Replaces an object, or a subresource of it when `sub` is not empty.
    pub async fn replace<T: DeserializeOwned>(
        &self,
        r: &Resource,
        key: (&str, &str),
        sub: &str,
        body: &Value,
        o: &WriteOptions,
    ) -> Result<T, Error> {
        let body = Some(("application/json", encode(body)?));
        self.json(Method::PUT, &sub_path(r, key, sub), &o.query(), body).await
    }

    /// Changes an object, or a subresource of it when `sub` is not empty.
    pub async fn patch<T: DeserializeOwned>(
        &self,
        r: &Resource,
        key: (&str, &str),
        sub: &str,
        patch: &Patch,
        o: &WriteOptions,
    ) -> Result<T, Error> {
        let (kind, body) = match patch {
            Patch::Json(v) => ("application/json-patch+json", v),
            Patch::Merge(v) => ("application/merge-patch+json", v),
            Patch::Strategic(v) => ("application/strategic-merge-patch+json", v),
            Patch::Apply(v) => ("application/apply-patch+yaml", v),
        };
        let mut query = o.query();
        if matches!(patch, Patch::Apply(_)) && o.manager.is_empty() {
            query[0].1 = &self.agent;
        }
        self.json(Method::PATCH, &sub_path(r, key, sub), &query, Some((kind, encode(body)?))).await
    }

    /// Posts to a subresource: `binding`, `eviction`.
    pub async fn post<T: DeserializeOwned>(
        &self,
        r: &Resource,
        key: (&str, &str),
        sub: &str,
        body: &Value,
    ) -> Result<T, Error> {
        let body = Some(("application/json", encode(body)?));
        self.json(Method::POST, &sub_path(r, key, sub), &[], body).await
    }

    /// Asks for an object's deletion.
    pub async fn delete(&self, r: &Resource, key: (&str, &str), o: &DeleteOptions) -> Result<(), Error> {
        let body = Some((JSON, encode(&o.body())?));
        let _: serde::de::IgnoredAny =
            self.json(Method::DELETE, &r.object_path(key.0, key.1), &[], body).await?;
        Ok(())
    }

    /// The same connection, asking for metadata alone: answers are `PartialObjectMetadata`, whatever the kind.
    pub fn metadata_only(&self) -> Client {
        const METADATA: &str =
            "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
        const METADATA_LIST: &str =
            "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
        Client { accept: [METADATA_LIST, METADATA], ..self.clone() }
    }

    /// Reads a path that is not an object: `/version`, logs, `/metrics`.
    pub async fn raw(&self, path: &str, query: &[(&str, &str)]) -> Result<Response, Error> {
        self.send(Method::GET, path, query, None).await
    }

    /// Sends a request and reads a JSON answer.
    pub async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<(&str, Bytes)>,
    ) -> Result<T, Error> {
        self.json_as(JSON, method, path, query, body).await
    }

    async fn json_as<T: DeserializeOwned>(
        &self,
        accept: &str,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<(&str, Bytes)>,
    ) -> Result<T, Error> {
        let what = format!("{method} {path}");
        let text = self.text(accept, method, path, query, body).await?;
        serde_json::from_str(&text).map_err(|source| Error::Unreadable { what, source })
    }

    /// The text of an answer. Boxed, so that it is compiled here and not again for each type that somebody reads.
    fn text<'a>(
        &'a self,
        accept: &'a str,
        method: Method,
        path: &'a str,
        query: &'a [(&'a str, &'a str)],
        body: Option<(&'a str, Bytes)>,
    ) -> Pin<Box<dyn Future<Output = Result<String, Error>> + Send + 'a>> {
        Box::pin(async move {
            let what = format!("{method} {path}");
            let bytes = self.send_as(accept, method, path, query, body).await?.into_body().collect().await?;
            String::from_utf8(bytes.into()).map_err(|e| Error::Unreadable {
                what,
                source: serde_json::Error::custom(format!("not UTF-8: {e}")),
            })
        })
    }

    /// Sends a request; an answer that is not a success becomes an error.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<(&str, Bytes)>,
    ) -> Result<Response, Error> {
        self.send_as(JSON, method, path, query, body).await
    }

    /// The same, asking for another form of the answer, such as a Table.
    pub async fn send_as(
        &self,
        accept: &str,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<(&str, Bytes)>,
    ) -> Result<Response, Error> {
        let mut request = http::Request::builder()
            .method(method)
            .uri(uri(path, query))
            .header(header::ACCEPT, accept)
            .header(header::USER_AGENT, &*self.agent);
        let mut bytes = Bytes::new();
        if let Some((kind, body)) = body {
            request = request.header(header::CONTENT_TYPE, kind);
            bytes = body;
        }
        let request = request.body(bytes).map_err(|e| Error::Unbuildable(e.to_string()))?;
        let response = self.transport.send(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(Error::refused(status_of(response).await?))
    }
}

/// The status in a refusal; made up from the HTTP status when the body is none.
async fn status_of(response: Response) -> Result<Status, Error> {
    let code = response.status();
    let bytes = response.into_body().collect().await?;
    let parsed: Option<Status> = serde_json::from_slice(&bytes).ok();
    Ok(parsed.filter(|s| s.code != 0).unwrap_or_else(|| Status {
        status: "Failure".to_owned(),
        message: String::from_utf8_lossy(&bytes).into_owned(),
        reason: code.canonical_reason().unwrap_or_default().replace(' ', ""),
        details: None,
        code: code.as_u16(),
    }))
}

impl WriteOptions {
    fn query(&self) -> [(&'static str, &str); 4] {
        [
            ("fieldManager", self.manager.as_str()),
            ("dryRun", if self.dry_run { "All" } else { "" }),
            ("force", if self.force { "true" } else { "" }),
            ("fieldValidation", self.validation),
        ]
    }
}

impl DeleteOptions {
    fn body(&self) -> Value {
        let mut body = json!({"apiVersion": "v1", "kind": "DeleteOptions"});
        if !self.uid.is_empty() {
            body["preconditions"]["uid"] = json!(self.uid);
        }
        if !self.resource_version.is_empty() {
            body["preconditions"]["resourceVersion"] = json!(self.resource_version);
        }
        if let Some(secs) = self.grace_period_seconds {
            body["gracePeriodSeconds"] = json!(secs);
        }
        if !self.propagation.is_empty() {
            body["propagationPolicy"] = json!(self.propagation);
        }
        if self.dry_run {
            body["dryRun"] = json!(["All"]);
        }
        body
    }
}

fn sub_path(r: &Resource, key: (&str, &str), sub: &str) -> String {
    let path = r.object_path(key.0, key.1);
    if sub.is_empty() { path } else { format!("{path}/{sub}") }
}

fn encode(body: &Value) -> Result<Bytes, Error> {
    serde_json::to_vec(body).map(Bytes::from).map_err(|e| Error::Unbuildable(e.to_string()))
}

/// A path with its query; empty values are left out.
fn uri(path: &str, query: &[(&str, &str)]) -> String {
    let mut out = path.to_owned();
    let mut sign = if path.contains('?') { '&' } else { '?' };
    for (key, value) in query.iter().filter(|(_, v)| !v.is_empty()) {
        out.push(sign);
        out.push_str(key);
        out.push('=');
        escape_into(&mut out, value);
        sign = '&';
    }
    out
}

fn escape_into(out: &mut String, text: &str) {
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || b"-_.~".contains(&b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
}

/// An object of which only the metadata matters.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct MetaOnly {
    /// Metadata.
    pub metadata: ObjectMeta,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_without_items_is_empty() {
        for text in [r#"{"items": null}"#, "{}", r#"{"items": []}"#] {
            assert!(serde_json::from_str::<List<MetaOnly>>(text).unwrap().items.is_empty(), "{text}");
        }
    }

    #[test]
    fn query_is_escaped_and_empty_values_left_out() {
        let q = [("labelSelector", "a=b,c"), ("limit", ""), ("fieldSelector", "x!=ä")];
        assert_eq!(
            uri("/api/v1/pods", &q),
            "/api/v1/pods?labelSelector=a%3Db%2Cc&fieldSelector=x%21%3D%C3%A4"
        );
    }
}
