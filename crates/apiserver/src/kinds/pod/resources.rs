//! Requests and limits.

use api_meta::Quantity;
use serde_json::Value;

use super::super::check::{Findings, Path, entries, list, text};
use super::super::names;

/// A quantity of a tree.
pub(in super::super) fn quantity(v: &Value) -> Option<Quantity> {
    v.as_str().and_then(|s| s.parse().ok())
}

/// Whose resources they are; each may name other ones.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Subject {
    /// A container.
    Container,
    /// A pod as a whole.
    Pod,
}

const STANDARD: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
/// Resources without a domain that exist beside those of containers.
const KNOWN: [&str; 7] =
    ["cpu", "memory", "ephemeral-storage", "storage", "pods", "requests.cpu", "requests.memory"];

fn is_huge_page(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// Whether a resource belongs to Kubernetes itself.
fn is_native(name: &str) -> bool {
    !name.contains('/') || name.split('/').next().is_some_and(|d| d.ends_with("kubernetes.io"))
}

/// Findings about the name of a container's resource.
pub(super) fn container_resource_name(found: &mut Findings, path: &Path<'_>, name: &str) {
    found.faults(path, name, names::qualified(name));
    if name.contains('/') {
        return;
    }
    if !KNOWN.contains(&name) && !is_huge_page(name) {
        found.invalid(path, name, "must be a standard resource type or fully qualified");
    }
    if !STANDARD.contains(&name) && !is_huge_page(name) {
        found.invalid(path, name, "must be a standard resource for containers");
    }
}

/// Findings about a value: not negative, and whole where the resource cannot be shared.
pub(in super::super) fn resource_value(found: &mut Findings, path: &Path<'_>, name: &str, value: &Value) {
    let Some(q) = quantity(value) else { return };
    if q.milli() < 0 {
        found.invalid(path, value.clone(), "must be greater than or equal to 0");
    }
    let is_counted = !is_native(name) || name == "pods" || is_huge_page(name);
    if is_counted && q.milli() % 1000 != 0 {
        found.invalid(path, value.clone(), "must be an integer");
    }
}

/// Findings about `resources` of a container or pod.
pub(super) fn requirements(
    found: &mut Findings,
    path: &Path<'_>,
    resources: &Value,
    claims: &[&str],
    subject: Subject,
) {
    let (limits, requests) = (path.field("limits"), path.field("requests"));
    let mut has_cpu_or_memory = false;
    let mut has_huge_pages = false;
    for (name, value) in entries(resources, "limits") {
        let path = limits.key(name);
        name_of(found, &path, name, subject);
        resource_value(found, &path, name, value);
        whole_pages(found, &path, name, value);
        has_huge_pages |= is_huge_page(name);
        has_cpu_or_memory |= matches!(name, "cpu" | "memory");
    }
    for (name, value) in entries(resources, "requests") {
        let path = requests.key(name);
        name_of(found, &path, name, subject);
        resource_value(found, &path, name, value);
        whole_pages(found, &path, name, value);
        has_huge_pages |= is_huge_page(name);
        has_cpu_or_memory |= matches!(name, "cpu" | "memory");
        against_limit(found, &requests, &limits, resources, (name, value));
    }
    if has_huge_pages && !has_cpu_or_memory {
        found.forbidden(path, "HugePages require cpu or memory");
    }
    let at = path.field("claims");
    for (i, claim) in list(resources, "claims").iter().enumerate() {
        let name = text(claim, "name");
        if name.is_empty() {
            found.required(&at.index(i), "");
        } else if !claims.contains(&name) {
            found.not_found(&at.index(i), name);
        }
    }
}

/// Huge pages come whole.
fn whole_pages(found: &mut Findings, path: &Path<'_>, name: &str, value: &Value) {
    let page = name.strip_prefix("hugepages-").and_then(|size| size.parse::<Quantity>().ok());
    let (Some(page), Some(q)) = (page, quantity(value)) else { return };
    let (page, wanted) = (page.milli(), q.milli());
    if page > 0 && wanted % page != 0 {
        let shown = value.as_str().unwrap_or_default();
        found.invalid(path, value.clone(), &format!("{shown} is not positive integer multiple of {name}"));
    }
}

fn name_of(found: &mut Findings, path: &Path<'_>, name: &str, subject: Subject) {
    match subject {
        Subject::Container => container_resource_name(found, path, name),
        Subject::Pod if matches!(name, "cpu" | "memory") || is_huge_page(name) => {}
        Subject::Pod => {
            found.not_supported(path, name, &["cpu", "hugepages-", "memory"]);
        }
    }
}

/// A request may not be above its limit, and is equal to it where the resource cannot be overcommitted.
fn against_limit(
    found: &mut Findings,
    requests: &Path<'_>,
    limits: &Path<'_>,
    resources: &Value,
    (name, value): (&str, &Value),
) {
    let can_differ = is_native(name) && !is_huge_page(name);
    let limit_value = &resources["limits"][name];
    let (Some(request), Some(limit)) = (quantity(value), quantity(limit_value)) else {
        if !can_differ && limit_value.is_null() {
            found.required(limits, "Limit must be set for non overcommitable resources");
        }
        return;
    };
    let shown = limit_value.as_str().unwrap_or_default();
    if !can_differ && request != limit {
        found.invalid(requests, value.clone(), &format!("must be equal to {name} limit of {shown}"));
    } else if request > limit {
        found.invalid(
            requests,
            value.clone(),
            &format!("must be less than or equal to {name} limit of {shown}"),
        );
    }
}
