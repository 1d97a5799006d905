//! The variables that expressions about requests may read, and their types.

use cel_rules::{Env, Type};

/// The user of a request, by a kind's version.
fn request() -> Type {
    let kind = || {
        Type::object(
            "kubernetes.GroupVersionKind",
            [("group", Type::TEXT), ("version", Type::TEXT), ("kind", Type::TEXT)],
        )
    };
    let resource = || {
        let fields = [("group", Type::TEXT), ("version", Type::TEXT), ("resource", Type::TEXT)];
        Type::object("kubernetes.GroupVersionResource", fields)
    };
    let user = Type::object(
        "kubernetes.UserInfo",
        [
            ("username", Type::TEXT),
            ("uid", Type::TEXT),
            ("groups", Type::list(Type::TEXT)),
            ("extra", Type::map(Type::TEXT, Type::list(Type::TEXT))),
        ],
    );
    Type::object(
        "kubernetes.AdmissionRequest",
        [
            ("kind", kind()),
            ("resource", resource()),
            ("subResource", Type::TEXT),
            ("requestKind", kind()),
            ("requestResource", resource()),
            ("requestSubResource", Type::TEXT),
            ("name", Type::TEXT),
            ("namespace", Type::TEXT),
            ("operation", Type::TEXT),
            ("userInfo", user),
            ("dryRun", Type::Bool),
            ("options", Type::Dyn),
        ],
    )
}

/// The namespace of an object, as far as expressions see it.
pub(super) fn namespace() -> Type {
    let texts = || Type::map(Type::TEXT, Type::TEXT);
    let metadata = Type::object(
        "kubernetes.NamespaceMetadata",
        [
            ("name", Type::TEXT),
            ("generateName", Type::TEXT),
            ("namespace", Type::TEXT),
            ("labels", texts()),
            ("annotations", texts()),
            ("UID", Type::TEXT),
            ("creationTimestamp", Type::Timestamp),
            ("deletionGracePeriodSeconds", Type::Int),
            ("deletionTimestamp", Type::Timestamp),
            ("generation", Type::Int),
            ("resourceVersion", Type::TEXT),
            ("finalizers", Type::list(Type::TEXT)),
        ],
    );
    let spec = Type::object("kubernetes.NamespaceSpec", [("finalizers", Type::list(Type::TEXT))]);
    let status = Type::object("kubernetes.NamespaceStatus", [("phase", Type::TEXT)]);
    Type::object("kubernetes.Namespace", [("metadata", metadata), ("spec", spec), ("status", status)])
}

/// What else than the request there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extras {
    /// Parameters of a policy.
    pub(crate) params: bool,
    /// The authorizer.
    pub(crate) authorizer: bool,
    /// The namespace: policies have it, webhooks do not.
    pub(crate) namespace: bool,
}

/// What match conditions of webhooks see beside the request.
pub(crate) const WEBHOOK: Extras = Extras { params: false, authorizer: true, namespace: false };

/// The variables of an expression about a request.
pub(crate) fn env(extras: Extras) -> Env {
    let mut env =
        Env::default().with("object", Type::Dyn).with("oldObject", Type::Dyn).with("request", request());
    if extras.params {
        env = env.with("params", Type::Dyn);
    }
    if extras.namespace {
        env = env.with("namespaceObject", namespace());
    }
    if extras.authorizer {
        let authorizer = Type::Opaque("kubernetes.authorization.Authorizer");
        let resource = Type::Opaque("kubernetes.authorization.ResourceCheck");
        env = env.with("authorizer", authorizer).with("authorizer.requestResource", resource);
    }
    env
}
