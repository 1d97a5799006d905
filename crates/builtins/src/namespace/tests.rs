use expect_test::{Expect, expect};

use super::*;

const PODS: Resource = Resource::namespaced("", "v1", "pods", "Pod");

fn namespace() -> Namespace {
    serde_json::from_value(json!({
        "metadata": {"name": "shop", "uid": "u", "deletionTimestamp": "2026-01-01T00:00:00Z", "labels": {"a": "b"}},
        "spec": {"finalizers": ["kubernetes", "example.com/mine"]},
        "status": {"phase": "Terminating"},
    }))
    .unwrap()
}

fn pod(name: &str, is_terminating: bool) -> Found {
    let key = ObjectKey::new("shop", name);
    Found { resource: PODS, key, uid: format!("u-{name}"), is_terminating, finalizers: Vec::new() }
}

fn conditions(content: &Content, expected: Expect) {
    let lines =
        judge(content).into_iter().map(|c| format!("{} {} {}: {}", c.r#type, c.status, c.reason, c.message));
    expected.assert_eq(&lines.collect::<Vec<_>>().join("\n"));
}

#[test]
fn an_empty_namespace_is_finalized_and_other_finalizers_stay() {
    let plan = plan(&namespace(), &Content::default(), Time::from_secs(1));
    let Some(Action::Patch { subresource: "finalize", form: Form::Replace, body, .. }) = plan.actions.last()
    else {
        panic!("{plan:#?}");
    };
    assert_eq!(body["spec"]["finalizers"], json!(["example.com/mine"]));
    assert_eq!(body["metadata"]["labels"]["a"], "b");
}

#[test]
fn what_could_not_be_looked_into_keeps_the_namespace() {
    let undiscovered =
        Content { undiscovered: vec![("x.io/v1".into(), "down".into())], ..Content::default() };
    let unlisted = Content { unlisted: vec![(PODS, "down".into())], ..Content::default() };
    for content in [undiscovered, unlisted] {
        let plan = plan(&namespace(), &content, Time::from_secs(1));
        let finalizes = |a: &Action| matches!(a, Action::Patch { subresource: "finalize", .. });
        assert!(!plan.actions.iter().any(finalizes));
        assert!(plan.wake.is_some());
    }
}

#[test]
fn objects_are_deleted_once_and_waited_for() {
    let content = Content { objects: vec![pod("a", false), pod("b", true)], ..Content::default() };
    let plan = plan(&namespace(), &content, Time::from_secs(1));
    let deleted = plan.actions.iter().filter(|a| matches!(a, Action::Delete { .. }));
    assert_eq!(deleted.map(|a| a.key().name).collect::<Vec<_>>(), ["a"]);
}

#[test]
fn an_active_namespace_is_left_alone() {
    let mut namespace = namespace();
    namespace.metadata.deletion_timestamp = None;
    let content = Content { objects: vec![pod("a", false)], ..Content::default() };
    assert!(plan(&namespace, &content, Time::from_secs(1)).is_quiet());
}

#[test]
fn conditions_say_what_remains() {
    let mut held = pod("b", true);
    held.finalizers.push("example.com/hold".into());
    let content = Content { objects: vec![pod("a", false), held], ..Content::default() };
    conditions(
        &content,
        expect![[r#"
        NamespaceDeletionDiscoveryFailure False ResourcesDiscovered: All resources successfully discovered
        NamespaceDeletionGroupVersionParsingFailure False ParsedGroupVersions: All legacy kube types successfully parsed
        NamespaceDeletionContentFailure False ContentDeleted: All content successfully deleted, may be waiting on finalization
        NamespaceContentRemaining True SomeResourcesRemain: Some resources are remaining: pods. has 2 resource instances
        NamespaceFinalizersRemaining True SomeFinalizersRemain: Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"#]],
    );
}
