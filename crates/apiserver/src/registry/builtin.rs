//! The built-in resources as they are stored: where, in which version, and how they get there.

use api_meta::Resource;
use api_tables::{Kind, tables};

use super::{Conversion, Scale, Served, convert};

/// All built-in resources, complete.
pub fn builtin() -> Vec<Served> {
    crate::kinds::served().into_iter().map(complete).collect()
}

/// A kind that is never stored, only sent to a subresource: its shape under its own group and version.
pub(crate) fn builtin_kind(group: &'static str, version: &'static str, kind: &'static str) -> Served {
    let schema = tables().schema(group, version, kind).map(|s| (tables().types.clone(), s.root));
    Served { schema, ..Served::plain(Resource::namespaced(group, version, kind, kind)) }
}

fn complete(served: Served) -> Served {
    let r = &served.resource;
    let Some(kind) = tables().resource(&r.group, &r.version, &r.plural) else { return served };
    let (storage_key, storage_api_version, conversion) = storage(kind);
    Served {
        storage_api_version,
        conversion,
        warning: warning(&storage_key).map(str::to_owned),
        scale: served.scale.clone().or_else(|| scale(kind)),
        storage_key: storage_key.into(),
        ..served
    }
}

/// What upstream says of kinds on their way out.
fn warning(storage_key: &str) -> Option<&'static str> {
    match storage_key {
        "endpoints" => Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"),
        "componentstatuses" => Some("v1 ComponentStatus is deprecated in v1.19+"),
        _ => None,
    }
}

/// Where objects of a kind rest, in which version, and how they get there.
fn storage(kind: &Kind) -> (String, String, Conversion) {
    let key =
        if kind.group.is_empty() { kind.plural.clone() } else { format!("{}.{}", kind.plural, kind.group) };
    match key.as_str() {
        "events" | "events.events.k8s.io" => {
            ("events".to_owned(), "v1".to_owned(), Conversion::InProcess(convert::event))
        }
        "horizontalpodautoscalers.autoscaling" => {
            (key, "autoscaling/v2".to_owned(), Conversion::InProcess(convert::autoscaler))
        }
        _ => {
            let version = preferred(kind).unwrap_or(&kind.version);
            let api_version =
                if kind.group.is_empty() { version.to_owned() } else { format!("{}/{version}", kind.group) };
            (key, api_version, Conversion::Rename)
        }
    }
}

/// The first version of the group that serves the resource.
fn preferred(kind: &Kind) -> Option<&'static str> {
    let tables = tables();
    let group = tables.groups.iter().find(|g| g.name == kind.group)?;
    let has = |v: &&String| tables.resource(&kind.group, v, &kind.plural).is_some();
    group.versions.iter().find(has).map(String::as_str)
}

fn scale(kind: &Kind) -> Option<Scale> {
    kind.subresource("scale").map(|_| Scale {
        spec_replicas: ".spec.replicas".to_owned(),
        status_replicas: ".status.replicas".to_owned(),
        selector: None,
    })
}
