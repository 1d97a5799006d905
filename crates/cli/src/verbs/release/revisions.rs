//! The revisions that a workload can go back to.

use std::sync::Arc;

use anyhow::bail;
use api_core::ControllerRevision;
use api_meta::Resource;
use serde_json::Value;
use workload_kit::revision;

use super::subject::{Kind, Subject};
use crate::scene::{controller, read_values};
use crate::session::Session;

const REVISIONS: Resource = Resource::namespaced("apps", "v1", "controllerrevisions", "ControllerRevision");
const SETS: Resource = Resource::namespaced("apps", "v1", "replicasets", "ReplicaSet");
/// Annotation of a ReplicaSet: number of the revision of its Deployment.
const NUMBER: &str = "deployment.kubernetes.io/revision";
/// Label that a Deployment adds to the template of a ReplicaSet.
const HASH: &str = "pod-template-hash";

/// One of them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Past {
    pub(super) number: i64,
    pub(super) name: String,
    pub(super) template: Value,
}

/// All that are kept, oldest first.
pub(super) async fn of(session: &Session, subject: &Subject) -> anyhow::Result<Vec<Past>> {
    let kind = if subject.kind == Kind::Deployment { &SETS } else { &REVISIONS };
    let uid = &subject.object["metadata"]["uid"];
    let all = read_values(&session.client, kind, &subject.namespace).await?;
    let own = all.into_iter().filter(|o| controller(o).is_some_and(|owner| owner["uid"] == *uid));
    let mut out: Vec<Past> =
        own.filter_map(|o| if kind == &SETS { past_of_set(&o) } else { past(o) }).collect();
    out.sort_by(|a, b| (a.number, &a.name).cmp(&(b.number, &b.name)));
    Ok(out)
}

fn past(object: Value) -> Option<Past> {
    let revision: Arc<ControllerRevision> = serde_json::from_value(object).ok()?;
    let template = revision::template(&revision)?;
    Some(Past { number: revision.revision, name: revision.metadata.name.clone(), template })
}

fn past_of_set(object: &Value) -> Option<Past> {
    let number = object["metadata"]["annotations"][NUMBER].as_str()?.parse().ok()?;
    let mut template = object["spec"]["template"].clone();
    if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
        labels.remove(HASH);
    }
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    Some(Past { number, name, template })
}

/// The one a person names: by name, by the end of its name, or by number.
pub(super) fn named<'p>(all: &'p [Past], wish: &str) -> anyhow::Result<&'p Past> {
    let found = all.iter().find(|p| p.name == wish || p.number.to_string() == wish);
    let found = found.or_else(|| all.iter().find(|p| revision::short(&p.name) == wish));
    match found {
        Some(past) => Ok(past),
        None => bail!("there is no revision {wish:?}; there are: {}", listed(all)),
    }
}

/// `web-abc (1), web-def (2)`.
pub(super) fn listed(all: &[Past]) -> String {
    let names: Vec<String> = all.iter().map(|p| format!("{} ({})", p.name, p.number)).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_revision_is_named_by_name_end_or_number() {
        let past = |number: i64, name: &str| Past { number, name: name.into(), template: json!({}) };
        let all = [past(1, "web-7c9"), past(2, "web-5df")];
        let number = |wish: &str| named(&all, wish).map(|p| p.number).ok();
        assert_eq!(
            [number("web-5df"), number("7c9"), number("2"), number("3")],
            [Some(2), Some(1), Some(2), None]
        );
        assert_eq!(
            named(&all, "3").unwrap_err().to_string(),
            "there is no revision \"3\"; there are: web-7c9 (1), web-5df (2)"
        );
    }
}
