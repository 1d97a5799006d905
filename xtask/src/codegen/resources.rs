//! OpenAPI paths -> served resources and subresources.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use api_tables::{Kind, Subresource, Tables, storage_version_hash};
use serde_json::Value;

use super::facts::Facts;

/// Short names and categories that no recorded discovery document holds: group, plural, short names, categories.
const NAMES: [(&str, &str, &[&str], &[&str]); 6] = [
    ("autoscaling", "horizontalpodautoscalers", &["hpa"], &["all"]),
    ("batch", "jobs", &[], &["all"]),
    ("batch", "cronjobs", &["cj"], &["all"]),
    ("policy", "poddisruptionbudgets", &["pdb"], &[]),
    ("apiextensions.k8s.io", "customresourcedefinitions", &["crd", "crds"], &["api-extensions"]),
    ("resource.k8s.io", "resourceslices", &[], &[]),
];

/// What the paths tell about one resource or subresource.
#[derive(Default)]
struct Seen {
    verbs: BTreeSet<String>,
    namespaced: bool,
    gvk: (String, String, String),
}

/// Fills the rows of served resources.
pub(super) fn fill(tables: &mut Tables, facts: &Facts) -> anyhow::Result<()> {
    for (group, version) in tables.group_versions() {
        let path =
            if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") };
        let document = facts.parsed.get(&path).with_context(|| format!("no document {path}"))?;
        let seen = paths(document, &format!("/{path}/"));
        for (name, entry) in &seen {
            if !name.contains('/') {
                let kind = row(tables, facts, (&group, &version), (name, entry), &seen)?;
                tables.kinds.push(kind);
            }
        }
    }
    tables.kinds.sort_by(|a, b| (&a.group, &a.version, &a.plural).cmp(&(&b.group, &b.version, &b.plural)));
    Ok(())
}

/// Resources (`pods`) and subresources (`pods/status`) with what their paths tell.
fn paths(document: &Value, prefix: &str) -> BTreeMap<String, Seen> {
    let mut out: BTreeMap<String, Seen> = BTreeMap::new();
    for (path, operations) in document["paths"].as_object().into_iter().flatten() {
        let Some(rest) = path.strip_prefix(prefix).filter(|r| !r.is_empty()) else { continue };
        let watched = rest.strip_prefix("watch/");
        let rest = watched.unwrap_or(rest);
        let inner = rest.strip_prefix("namespaces/{namespace}/");
        let name = inner.unwrap_or(rest).replace("/{name}", "").replace("/{path}", "");
        let seen = out.entry(name).or_default();
        seen.namespaced |= inner.is_some();
        for (method, operation) in operations.as_object().into_iter().flatten() {
            let Some(verb) = verb(method, operation["x-kubernetes-action"].as_str()) else { continue };
            seen.verbs.insert(verb.to_owned());
            let gvk = &operation["x-kubernetes-group-version-kind"];
            let text = |k: &str| gvk[k].as_str().unwrap_or_default().to_owned();
            seen.gvk = (text("group"), text("version"), text("kind"));
        }
    }
    out
}

fn verb(method: &str, action: Option<&str>) -> Option<&'static str> {
    Some(match (action?, method) {
        ("post", _) | ("connect", "post") => "create",
        ("put", _) | ("connect", "put") => "update",
        ("patch", _) | ("connect", "patch") => "patch",
        ("delete", _) | ("connect", "delete") => "delete",
        ("get", _) | ("connect", "get") => "get",
        ("list", _) => "list",
        ("watch" | "watchlist", _) => "watch",
        ("deletecollection", _) => "deletecollection",
        _ => return None,
    })
}

fn row(
    tables: &Tables,
    facts: &Facts,
    (group, version): (&str, &str),
    (plural, seen): (&str, &Seen),
    all: &BTreeMap<String, Seen>,
) -> anyhow::Result<Kind> {
    let own = |gvk: &(String, String, String)| tables.roots.get(gvk).copied();
    let root = own(&seen.gvk).with_context(|| format!("no type for {plural} of {group}/{version}"))?;
    let prefix = format!("{plural}/");
    let subresources = all.iter().filter_map(|(name, s)| {
        let (group, version, kind) = s.gvk.clone();
        let name = name.strip_prefix(&prefix)?.to_owned();
        Some(Subresource { name, group, version, kind, verbs: verbs(s), root: own(&s.gvk) })
    });
    let kind = &seen.gvk.2;
    let (short_names, categories) = names(facts, group, version, plural);
    let recorded = facts.discovered.get(&(group.to_owned(), version.to_owned(), plural.to_owned()));
    let recorded_hash = recorded.and_then(|r| r["storageVersionHash"].as_str());
    let stored = seen.verbs.contains("list") && plural != "componentstatuses";
    let computed = if stored { storage_version_hash(group, version, kind) } else { String::new() };
    Ok(Kind {
        group: group.to_owned(),
        version: version.to_owned(),
        plural: plural.to_owned(),
        singular: kind.to_lowercase(),
        kind: kind.clone(),
        namespaced: seen.namespaced,
        verbs: verbs(seen),
        short_names,
        categories,
        root,
        storage_version_hash: recorded_hash.map_or(computed, str::to_owned),
        subresources: subresources.collect(),
    })
}

fn verbs(seen: &Seen) -> Vec<String> {
    seen.verbs.iter().cloned().collect()
}

fn names(facts: &Facts, group: &str, version: &str, plural: &str) -> (Vec<String>, Vec<String>) {
    let key = (group.to_owned(), version.to_owned(), plural.to_owned());
    if let Some(entry) = facts.discovered.get(&key) {
        let list = |k: &str| entry[k].as_array().into_iter().flatten().filter_map(Value::as_str);
        let owned = |k: &str| list(k).map(str::to_owned).collect();
        return (owned("shortNames"), owned("categories"));
    }
    let known = NAMES.iter().find(|(g, p, ..)| *g == group && *p == plural);
    let owned = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
    known.map_or_else(Default::default, |(_, _, short, categories)| (owned(short), owned(categories)))
}
