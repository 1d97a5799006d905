//! Discovery: which groups, versions, resources and verbs there are.
//!
//! ```text
//! /api  /apis            legacy lists, or everything in one aggregated document, by Accept
//! /api/v1  /apis/G/V     resources of one version          /apis/G   versions of one group
//! ```
//!
//! Everything follows from the registry's snapshot. Aggregated documents carry an ETag and are kept until the registry
//! changes. What is absent: groups of other servers (APIService), and freshness other than `Current`.

mod aggregated;
mod legacy;
mod reply;

use std::sync::{Mutex, PoisonError};

use api_client::{Request, Response};
use http::Method;
use http::header::ACCEPT;
use serde_json::Value;

use crate::registry::Snapshot;
use crate::represent::protobuf;
use crate::request::{Accept, Form, Offer};
use crate::server::Documents;

pub(crate) use reply::{json, not_found_text, reply, tagged};

/// Answers the discovery paths.
#[derive(Default)]
pub struct Discovery {
    kept: Mutex<Option<aggregated::Kept>>,
}

impl Discovery {
    /// Discovery over whatever snapshot a request brings.
    pub fn new() -> Discovery {
        Discovery::default()
    }

    fn root(&self, snapshot: &Snapshot, request: &Request, is_core: bool) -> Response {
        if let Some(form) = aggregated::Form::of(accept(request)) {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            let kept = aggregated::Kept::refresh(&mut kept, snapshot);
            return kept.answer(form, is_core, request);
        }
        let mut response = form(request, &if is_core { legacy::core() } else { legacy::groups(snapshot) });
        response.headers_mut().insert(http::header::VARY, http::HeaderValue::from_static("Accept"));
        response
    }
}

impl Documents for Discovery {
    fn answer(&self, snapshot: &Snapshot, request: &Request) -> Option<Response> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return None;
        }
        let path = request.uri().path().trim_matches('/');
        let parts: Vec<&str> = path.split('/').collect();
        match parts.as_slice() {
            ["api"] => Some(self.root(snapshot, request, true)),
            ["apis"] => Some(self.root(snapshot, request, false)),
            ["api", version] => Some(resources(snapshot, request, "", version)),
            ["apis", group] => {
                let found = snapshot.groups().iter().find(|g| !group.is_empty() && g.name == *group);
                Some(found.map_or_else(not_found_text, |g| form(request, &legacy::group(g, true))))
            }
            ["apis", group, version] => Some(resources(snapshot, request, group, version)),
            _ => None,
        }
    }
}

fn resources(snapshot: &Snapshot, request: &Request, group: &str, version: &str) -> Response {
    if snapshot.has_version(group, version) {
        return form(request, &legacy::resources(snapshot, group, version));
    }
    // As kube-apiserver: an unknown version of a compiled-in group is an API answer, all else is not there at all.
    let is_builtin = snapshot.groups().iter().any(|g| g.name == group && !g.is_custom);
    if is_builtin { form_with(request, 404, &legacy::no_such_version()) } else { not_found_text() }
}

fn accept(request: &Request) -> &str {
    request.headers().get(ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default()
}

/// A document as JSON, or in the form that the client would rather have.
fn form(request: &Request, document: &Value) -> Response {
    form_with(request, 200, document)
}

fn form_with(request: &Request, code: u16, document: &Value) -> Response {
    match Accept::choose(accept(request), false, Offer::Plain).map(|accept| accept.form) {
        Ok(Form::Yaml) => {
            let text = serde_yaml_ng::to_string(document).unwrap_or_default();
            reply(code, Form::Yaml.media_type(), text)
        }
        Ok(Form::Protobuf) => match protobuf::tree(document) {
            Ok(sealed) => reply(code, Form::Protobuf.media_type(), sealed),
            Err(_) => json(code, document),
        },
        _ => json(code, document),
    }
}

#[cfg(test)]
mod tests {
    use api_client::Body;
    use bytes::Bytes;
    use expect_test::expect;
    use http::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH};
    use serde_json::json;

    use super::*;
    use crate::registry::{Registry, builtin};

    const V2: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

    fn ask(path: &str, headers: &[(http::HeaderName, &str)]) -> Response {
        let snapshot = Registry::new(builtin()).snapshot();
        let mut request = http::Request::get(path);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let request = request.body(Bytes::new()).expect("a fixed request");
        Discovery::new().answer(&snapshot, &request).expect("a path of discovery")
    }

    fn body(response: Response) -> Value {
        let Body::Full(body) = response.into_body() else { panic!("documents are whole") };
        serde_json::from_slice(&body).unwrap_or_else(|_| json!(String::from_utf8_lossy(&body)))
    }

    #[test]
    fn legacy_entries_are_those_of_upstream() {
        let list = body(ask("/api/v1", &[]));
        let find = |name: &str| {
            let all = list["resources"].as_array().expect("resources");
            all.iter().find(|r| r["name"] == name).expect("listed").to_string()
        };
        expect![[r#"{"categories":["all"],"kind":"Pod","name":"pods","namespaced":true,"shortNames":["po"],"singularName":"pod","storageVersionHash":"xPOwRZ+Yhw8=","verbs":["create","delete","deletecollection","get","list","patch","update","watch"]}"#]]
        .assert_eq(&find("pods"));
        expect![[r#"{"group":"policy","kind":"Eviction","name":"pods/eviction","namespaced":true,"singularName":"","verbs":["create"],"version":"v1"}"#]]
        .assert_eq(&find("pods/eviction"));
        assert_eq!(list.get("apiVersion"), None);
    }

    #[test]
    fn unknown_groups_and_versions_are_told_apart() {
        assert_eq!(body(ask("/apis/nope", &[])), json!("404 page not found\n"));
        assert_eq!(body(ask("/apis/apps/v9", &[]))["reason"], "NotFound");
        assert_eq!(body(ask("/apis/autoscaling", &[]))["preferredVersion"]["version"], "v2");
    }

    #[test]
    fn the_aggregated_form_is_chosen_by_accept_and_kept_by_its_tag() {
        let first = ask("/apis", &[(ACCEPT, V2)]);
        assert_eq!(first.headers()[CONTENT_TYPE], V2);
        let tag = first.headers()[ETAG].to_str().expect("hex").to_owned();
        let all = body(first);
        assert_eq!(all["items"][1]["metadata"]["name"], "apps");
        assert_eq!(all["items"][1]["versions"][0]["freshness"], "Current");
        assert_eq!(ask("/apis", &[(ACCEPT, V2), (IF_NONE_MATCH, &tag)]).status(), 304);
        let plain = ask("/apis", &[(ACCEPT, &format!("application/json,{V2}"))]);
        assert_eq!(body(plain)["kind"], "APIGroupList");
    }
}
