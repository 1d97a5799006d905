use super::*;

fn quota(status: Value) -> ResourceQuota {
    let tree = json!({
        "metadata": {"name": "q", "namespace": "ns", "uid": "u", "resourceVersion": "5"},
        "spec": {"hard": {"pods": "5", "requests.cpu": "2"}}, "status": status
    });
    serde_json::from_value(tree).unwrap()
}

fn pods(count: usize) -> Content {
    let pod = json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "250m"}}}]}});
    Content { objects: vec![("pods".to_owned(), pod); count], unlisted: Vec::new() }
}

fn now() -> Time {
    Time::from_secs(1_800_000_000)
}

const LONG: Duration = Duration::from_secs(60);

/// The status that would be written.
fn written(quota: &ResourceQuota, content: &Content, unchanged_for: Duration) -> Option<Value> {
    match plan(quota, content, unchanged_for, now()).actions.as_slice() {
        [] => None,
        [Action::Patch { body, target, .. }] => {
            assert_eq!(target.revision, Some(5), "fenced by what was seen");
            Some(body["status"].clone())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_new_quota_is_counted_at_once() {
    let status = written(&quota(json!({})), &pods(2), Duration::ZERO).unwrap();
    assert_eq!(
        status,
        json!({
            "hard": {"pods": "5", "requests.cpu": "2"}, "used": {"pods": "2", "requests.cpu": "500m"}
        })
    );
}

#[test]
fn what_is_right_is_left_alone() {
    let status = written(&quota(json!({})), &pods(2), LONG).unwrap();
    assert_eq!(written(&quota(status), &pods(2), LONG), None);
}

#[test]
fn less_is_counted_only_when_nothing_may_be_under_way() {
    let status = written(&quota(json!({})), &pods(3), LONG).unwrap();
    let quota = quota(status);
    assert_eq!(written(&quota, &pods(2), Duration::from_secs(1)), None);
    assert_eq!(
        plan(&quota, &pods(2), Duration::from_secs(1), now()).wake,
        Some(now() + Duration::from_secs(1))
    );
    assert_eq!(written(&quota, &pods(2), LONG).unwrap()["used"]["pods"], "2");
    assert_eq!(written(&quota, &pods(4), Duration::ZERO).unwrap()["used"]["pods"], "4", "more is at once");
}

#[test]
fn half_a_count_is_not_written() {
    let mut content = pods(1);
    content.unlisted.push(("pods".to_owned(), "no".to_owned()));
    assert_eq!(written(&quota(json!({})), &content, LONG), None);
}

#[test]
fn what_is_not_limited_any_more_is_forgotten() {
    let status = json!({"hard": {"secrets": "1"}, "used": {"secrets": "1"}});
    let written = written(&quota(status), &pods(0), LONG).unwrap();
    assert_eq!((&written["hard"]["secrets"], &written["used"]["secrets"]), (&Value::Null, &Value::Null));
    assert_eq!(written["used"]["pods"], "0");
}
