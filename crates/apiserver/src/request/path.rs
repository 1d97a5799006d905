//! The path of a request: a resource with its parts, or a bare path.

use http::Method;

/// What a path points at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Target {
    /// The path as sent, without trailing slash.
    pub(crate) path: String,
    /// It is below a version of a group.
    pub(crate) is_resource: bool,
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) namespace: String,
    /// Plural; empty for the version itself (discovery).
    pub(crate) resource: String,
    pub(crate) name: String,
    pub(crate) subresource: String,
    /// What follows the subresource (proxy paths).
    pub(crate) rest: String,
    /// The deprecated `/watch/` prefix was there.
    pub(crate) is_watch: bool,
}

impl Target {
    /// Reads a path, percent escapes resolved by segment.
    pub(crate) fn parse(path: &str) -> Target {
        let trimmed = if path.len() > 1 { path.trim_end_matches('/') } else { path };
        let mut target = Target { path: trimmed.to_owned(), ..Target::default() };
        let parts: Vec<String> =
            trimmed.split('/').filter(|p| !p.is_empty()).map(super::query::unescape_path).collect();
        let rest = match parts.as_slice() {
            [api, version, rest @ ..] if api == "api" => {
                target.version.clone_from(version);
                rest
            }
            [apis, group, version, rest @ ..] if apis == "apis" => {
                target.group.clone_from(group);
                target.version.clone_from(version);
                rest
            }
            _ => return target,
        };
        target.is_resource = true;
        target.read(rest);
        target
    }

    fn read(&mut self, mut parts: &[String]) {
        if let [watch, rest @ ..] = parts
            && watch == "watch"
            && !rest.is_empty()
        {
            self.is_watch = true;
            parts = rest;
        }
        parts = match parts {
            [n, namespace, below, ..] if n == "namespaces" => {
                self.namespace.clone_from(namespace);
                if matches!(below.as_str(), "status" | "finalize") && parts.len() == 3 {
                    parts
                } else {
                    &parts[2..]
                }
            }
            [n, namespace] if n == "namespaces" => {
                self.namespace.clone_from(namespace);
                parts
            }
            _ => parts,
        };
        let mut next = parts.iter().cloned();
        self.resource = next.next().unwrap_or_default();
        self.name = next.next().unwrap_or_default();
        self.subresource = next.next().unwrap_or_default();
        self.rest = next.collect::<Vec<_>>().join("/");
    }

    /// The verb of a method on it, as authorizers know it.
    pub(crate) fn verb(&self, method: &Method, is_watch: bool) -> &'static str {
        if !self.is_resource || self.resource.is_empty() {
            return match *method {
                Method::POST => "post",
                Method::PUT => "put",
                Method::PATCH => "patch",
                Method::DELETE => "delete",
                Method::HEAD => "head",
                Method::OPTIONS => "options",
                _ => "get",
            };
        }
        match *method {
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE if self.name.is_empty() => "deletecollection",
            Method::DELETE => "delete",
            _ if self.is_watch => "watch",
            _ if !self.name.is_empty() => "get",
            _ if is_watch => "watch",
            _ => "list",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(path: &str) -> [String; 6] {
        let t = Target::parse(path);
        [t.group, t.version, t.namespace, t.resource, t.name, t.subresource]
    }

    #[test]
    fn paths_name_their_parts() {
        assert_eq!(parts("/api/v1/namespaces/a/pods/b/log"), ["", "v1", "a", "pods", "b", "log"]);
        assert_eq!(parts("/apis/apps/v1/deployments"), ["apps", "v1", "", "deployments", "", ""]);
        assert_eq!(parts("/api/v1/namespaces/a"), ["", "v1", "a", "namespaces", "a", ""]);
        assert_eq!(parts("/api/v1/namespaces/a/finalize"), ["", "v1", "a", "namespaces", "a", "finalize"]);
        assert_eq!(parts("/api/v1/namespaces/a/pods/"), ["", "v1", "a", "pods", "", ""]);
        assert_eq!(parts("/api/v1/nodes/n/status"), ["", "v1", "", "nodes", "n", "status"]);
        assert!(!Target::parse("/healthz").is_resource);
        assert!(Target::parse("/api/v1").resource.is_empty());
    }

    #[test]
    fn verbs_follow_method_and_parts() {
        let verb = |m: Method, p: &str, w| Target::parse(p).verb(&m, w);
        assert_eq!(verb(Method::GET, "/api/v1/pods", true), "watch");
        assert_eq!(verb(Method::GET, "/api/v1/watch/namespaces/a/pods", false), "watch");
        assert_eq!(verb(Method::DELETE, "/api/v1/namespaces/a/pods", false), "deletecollection");
        assert_eq!(verb(Method::GET, "/api/v1", false), "get");
    }
}
