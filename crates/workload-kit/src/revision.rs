//! Revisions of a workload: what they hold, what they are called, which of them are kept.

use std::collections::BTreeSet;
use std::sync::Arc;

use api_core::{ControllerRevision, Pod};
use api_meta::{ObjectMeta, OwnerReference};
use api_workload::names;
use serde_json::{Map, Value, json};

/// The data of a revision: the pod template, to replace the other one whole. Null members are dropped, so that the same
/// template gives the same data whoever wrote it.
pub fn data(template: &Value) -> Value {
    let mut template = template.clone();
    drop_nulls(&mut template);
    if let Some(map) = template.as_object_mut() {
        map.insert("$patch".to_owned(), json!("replace"));
    }
    json!({"spec": {"template": template}})
}

/// The pod template that a revision holds.
pub fn template(revision: &ControllerRevision) -> Option<Value> {
    let mut template = revision.data.get("spec")?.get("template")?.clone();
    drop_nulls(&mut template);
    template.as_object_mut()?.remove("$patch");
    Some(template)
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, v| !v.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// Short hash of revision data. Stable: it is part of names in the store.
pub fn hash(data: &Value, collisions: i32) -> String {
    let mut text = data.to_string();
    if collisions > 0 {
        text.push_str(&collisions.to_string());
    }
    safe_encode(&fnv32a(text.as_bytes()).to_string())
}

fn fnv32a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |h, b| (h ^ u32::from(*b)).wrapping_mul(0x0100_0193))
}

/// Letters without vowels, so that no words appear (as Kubernetes writes hashes).
fn safe_encode(text: &str) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    text.bytes().map(|b| char::from(LETTERS[usize::from(b) % LETTERS.len()])).collect()
}

/// Longest owner part of a revision's name (as kube-controller-manager 1.36).
const OWNER_MAX: usize = 223;

/// Name of the revision with this hash.
pub fn name(owner: &str, hash: &str) -> String {
    let end = (0..=owner.len().min(OWNER_MAX)).rev().find(|i| owner.is_char_boundary(*i)).unwrap_or(0);
    format!("{}-{hash}", &owner[..end])
}

/// The hash within a revision's name: what follows the last dash.
pub fn short(name: &str) -> &str {
    name.rsplit('-').next().unwrap_or(name)
}

/// Whether two revision labels mean the same revision; one of them may be in short form.
pub fn same(a: &str, b: &str) -> bool {
    a == b || short(a) == short(b)
}

/// Whether a pod is labelled with this revision.
pub fn is_at(pod: &Pod, revision: &str) -> bool {
    same(label(pod), revision)
}

/// The revision a pod is labelled with; empty when there is none.
pub fn label(pod: &Pod) -> &str {
    pod.metadata.labels.get(names::REVISION_LABEL).map_or("", String::as_str)
}

/// The labels that say a revision.
pub fn labels(revision: &str) -> [(&'static str, String); 2] {
    [(names::REVISION_LABEL, revision.to_owned()), (names::TEMPLATE_HASH_LABEL, short(revision).to_owned())]
}

/// Oldest first; ties by age, then by name.
pub fn sort(revisions: &mut [Arc<ControllerRevision>]) {
    revisions.sort_by(|a, b| {
        let rank = |r: &ControllerRevision| (r.revision, r.metadata.creation_timestamp);
        rank(a).cmp(&rank(b)).then_with(|| a.metadata.name.cmp(&b.metadata.name))
    });
}

/// What is needed to find or make the revision of a template.
pub struct Wanted<'a> {
    /// Metadata of the workload.
    pub owner: &'a ObjectMeta,
    /// How revisions refer to it.
    pub reference: OwnerReference,
    /// Data of the revision.
    pub data: Value,
    /// Labels of its pods.
    pub labels: Map<String, Value>,
    /// Further annotations of a new revision, beside those of the workload.
    pub annotations: Vec<(&'static str, String)>,
    /// Collisions known so far.
    pub collisions: i32,
}

/// The revision of a template.
#[derive(Debug, PartialEq)]
pub enum Found {
    /// It is there and the newest.
    Newest(Arc<ControllerRevision>),
    /// It is there but others are newer: its number must become this one.
    Older(Arc<ControllerRevision>, i64),
    /// It is not there: this must be created.
    Missing {
        /// The object to create.
        body: Box<Value>,
        /// Collisions known now.
        collisions: i32,
    },
}

/// Collisions in a row that are tried before giving up on a free name.
const COLLISIONS_MAX: i32 = 16;

/// Names that [`find`] may want to give to a new revision, so that the caller can look who has them.
pub fn candidate_names(owner: &str, data: &Value, collisions: i32) -> Vec<String> {
    (0..COLLISIONS_MAX).map(|i| name(owner, &hash(data, collisions.saturating_add(i)))).collect()
}

/// Finds the revision of a template among `revisions` (sorted, see [`sort`]), or says what to write.
/// `taken` tells whether a name belongs to another object.
pub fn find(
    wanted: &Wanted<'_>,
    revisions: &[Arc<ControllerRevision>],
    taken: impl Fn(&str) -> bool,
) -> Found {
    let is_equal = |r: &&Arc<ControllerRevision>| {
        let mut held = r.data.clone();
        drop_nulls(&mut held);
        held == wanted.data
    };
    let next = revisions.last().map_or(1, |r| r.revision.saturating_add(1));
    if let Some(equal) = revisions.iter().rev().find(is_equal) {
        let newest = revisions.last().is_some_and(|last| last.metadata.name == equal.metadata.name);
        return if newest { Found::Newest(equal.clone()) } else { Found::Older(equal.clone(), next) };
    }
    let mut collisions = wanted.collisions;
    let name_at = |collisions| name(&wanted.owner.name, &hash(&wanted.data, collisions));
    while collisions < wanted.collisions.saturating_add(COLLISIONS_MAX) && taken(&name_at(collisions)) {
        collisions += 1;
    }
    let name = name_at(collisions);
    Found::Missing { body: Box::new(body(wanted, &name, next)), collisions }
}

fn body(wanted: &Wanted<'_>, name: &str, number: i64) -> Value {
    let mut labels = wanted.labels.clone();
    labels.insert("controller.kubernetes.io/hash".to_owned(), json!(short(name)));
    let mut annotations = json!(wanted.owner.annotations);
    for (key, value) in &wanted.annotations {
        annotations[*key] = json!(value);
    }
    // It would make every revision carry the whole workload a second time.
    if let Some(map) = annotations.as_object_mut() {
        map.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
    json!({
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": name,
            "namespace": wanted.owner.namespace,
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [wanted.reference],
        },
        "data": wanted.data,
        "revision": number,
    })
}

/// The revisions beyond `limit` that nobody uses, oldest first. `live` are names that are used by the workload itself.
pub fn surplus(
    revisions: &[Arc<ControllerRevision>],
    live: &[&str],
    pods: &[Arc<Pod>],
    limit: i32,
) -> Vec<Arc<ControllerRevision>> {
    let on_pods: BTreeSet<&str> = pods.iter().map(|p| short(label(p))).collect();
    let is_unused = |r: &&Arc<ControllerRevision>| {
        let name = r.metadata.name.as_str();
        !live.contains(&name) && !on_pods.contains(short(name))
    };
    let unused: Vec<_> = revisions.iter().filter(is_unused).cloned().collect();
    let surplus = unused.len().saturating_sub(usize::try_from(limit.max(0)).unwrap_or(0));
    unused.into_iter().take(surplus).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted<'a>(owner: &'a ObjectMeta, image: &str) -> Wanted<'a> {
        Wanted {
            owner,
            reference: OwnerReference::default(),
            data: data(
                &json!({"metadata": {"creationTimestamp": null}, "spec": {"containers": [{"image": image}]}}),
            ),
            labels: Map::new(),
            annotations: Vec::new(),
            collisions: 0,
        }
    }

    fn stored(wanted: &Wanted<'_>, number: i64) -> Arc<ControllerRevision> {
        let Found::Missing { body, .. } = find(wanted, &[], |_| false) else {
            panic!("no revisions are given")
        };
        let mut revision: ControllerRevision = serde_json::from_value(*body).unwrap();
        revision.revision = number;
        Arc::new(revision)
    }

    fn owner() -> ObjectMeta {
        ObjectMeta { name: "web".into(), namespace: "shop".into(), ..ObjectMeta::default() }
    }

    #[test]
    fn hashes_never_change() {
        // Part of the store's content: a change here makes new revisions of everything on upgrade.
        let data = data(&json!({"spec": {"containers": [{"name": "a", "image": "b"}]}}));
        expect_test::expect![[
            r#"{"spec":{"template":{"$patch":"replace","spec":{"containers":[{"image":"b","name":"a"}]}}}}"#
        ]]
        .assert_eq(&data.to_string());
        assert_eq!(
            (name("web", &hash(&data, 0)), name("web", &hash(&data, 1))),
            ("web-5d5694d99d".into(), "web-7944fcb99c".into())
        );
    }

    #[test]
    fn going_back_reuses_the_old_revision_with_a_new_number() {
        let owner = owner();
        let (one, two) = (wanted(&owner, "a:1"), wanted(&owner, "a:2"));
        let known = [stored(&one, 1), stored(&two, 2)];
        assert_eq!(find(&two, &known, |_| false), Found::Newest(known[1].clone()));
        assert_eq!(find(&one, &known, |_| false), Found::Older(known[0].clone(), 3));
    }

    #[test]
    fn a_taken_name_is_avoided_and_counted() {
        let owner = owner();
        let wanted = wanted(&owner, "a:1");
        let first = name("web", &hash(&wanted.data, 0));
        let Found::Missing { body, collisions } = find(&wanted, &[], |n| n == first) else {
            panic!("it is missing")
        };
        assert_eq!(collisions, 1);
        assert_ne!(body["metadata"]["name"], json!(first));
        assert!(candidate_names("web", &wanted.data, 0).contains(&first));
    }

    #[test]
    fn only_unused_revisions_beyond_the_limit_go() {
        let owner = owner();
        let known: Vec<_> = (1..=5).map(|i| stored(&wanted(&owner, &format!("a:{i}")), i)).collect();
        let mut pod = Pod::default();
        pod.metadata.labels.insert(names::REVISION_LABEL.into(), short(&known[1].metadata.name).to_owned());
        let live = [known[4].metadata.name.as_str()];
        let gone = surplus(&known, &live, &[Arc::new(pod)], 1);
        let numbers: Vec<_> = gone.iter().map(|r| r.revision).collect();
        assert_eq!(numbers, [1, 3]);
    }

    #[test]
    fn both_spellings_of_a_revision_are_the_same() {
        assert!(same("web-abc", "abc") && same("web-abc", "other-abc") && !same("web-abc", "web-abd"));
    }
}
