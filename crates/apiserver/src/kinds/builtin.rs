//! Rows of the generated tables as served resources.

use std::collections::BTreeMap;

use api_meta::Resource;
use api_tables::{Kind, tables};

use super::table;
use crate::registry::{Scale, Served, Subresource};

/// Every built-in resource in every served version, in the order of discovery.
pub fn served() -> Vec<Served> {
    let rank = |group: &str| tables().groups.iter().position(|g| g.name == group).map_or(0, |at| at + 1);
    let mut kinds: Vec<&Kind> = tables().kinds.iter().collect();
    kinds.sort_by_key(|k| rank(&k.group));
    kinds.into_iter().map(one).collect()
}

fn one(kind: &'static Kind) -> Served {
    let resource = if kind.namespaced {
        Resource::namespaced(&kind.group, &kind.version, &kind.plural, &kind.kind)
    } else {
        Resource::cluster(&kind.group, &kind.version, &kind.plural, &kind.kind)
    };
    let base = Served::plain(resource);
    let subresources: BTreeMap<String, Subresource> =
        kind.subresources.iter().map(|s| (s.name.clone(), subresource(kind, s))).collect();
    Served {
        singular: kind.singular.clone(),
        short_names: kind.short_names.clone(),
        categories: kind.categories.clone(),
        verbs: kind.verbs.iter().map(String::as_str).collect(),
        subresources,
        schema: Some((tables().types.clone(), kind.root)),
        warning: warning(kind),
        facts: table::facts(&kind.group, &kind.plural),
        scale: kind.subresources.iter().any(|s| s.name == "scale").then(scale),
        ..base
    }
}

/// Where every scalable built-in kind keeps its replicas; the selector is derived from `.spec.selector`.
fn scale() -> Scale {
    Scale {
        spec_replicas: ".spec.replicas".to_owned(),
        status_replicas: ".status.replicas".to_owned(),
        selector: None,
    }
}

/// What is said of a kind that is on its way out.
fn warning(kind: &Kind) -> Option<String> {
    let text = match (kind.group.as_str(), kind.plural.as_str()) {
        ("", "endpoints") => "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
        ("", "componentstatuses") => "v1 ComponentStatus is deprecated in v1.19+",
        _ => return None,
    };
    Some(text.to_owned())
}

fn subresource(kind: &Kind, s: &'static api_tables::Subresource) -> Subresource {
    let is_foreign = s.group != kind.group || s.version != kind.version;
    let only_foreign = |text: &String| if is_foreign { text.clone() } else { String::new() };
    Subresource {
        group: only_foreign(&s.group),
        version: only_foreign(&s.version),
        kind: s.kind.clone(),
        verbs: s.verbs.iter().map(String::as_str).collect(),
    }
}
