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

/// A document as JSON, or as YAML for who asks for that alone.
fn form(request: &Request, document: &Value) -> Response {
    form_with(request, 200, document)
}

fn form_with(request: &Request, code: u16, document: &Value) -> Response {
    if accept(request).trim() == "application/yaml" {
        let text = serde_yaml_ng::to_string(document).unwrap_or_default();
        return reply(code, "application/yaml", text);
    }
    json(code, document)
}
