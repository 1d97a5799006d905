//! What may change in place, what the patch carries, and when the change is complete.

use api_core::{ContainerState, ContainerStateRunning, ContainerStateWaiting, EnvVar};

use super::*;

fn template(image: &str, change: impl FnOnce(&mut Value)) -> Value {
    let mut template = json!({
        "metadata": {"labels": {"app": "a"}},
        "spec": {"containers": [{"name": "main", "image": image, "env": [
            {"name": "ZONE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['zone']"}}}]},
            {"name": "side", "image": "s:1"}]},
    });
    change(&mut template);
    template
}

#[test]
fn only_images_and_metadata_change_in_place() {
    let old = template("a:1", |_| {});
    let same = change(&old, &template("a:2", |t| t["metadata"]["labels"]["tier"] = json!("web"))).unwrap();
    assert_eq!(same.images, [("main".to_owned(), "a:2".to_owned())].into());
    assert_eq!(same.labels, [("tier".to_owned(), Some("web".to_owned()))].into());
    let gone = change(&template("a:1", |t| t["metadata"]["annotations"] = json!({"x": "y"})), &old).unwrap();
    assert_eq!(gone.annotations, [("x".to_owned(), None)].into());
    for (what, new) in [
        (
            "environment",
            template("a:2", |t| t["spec"]["containers"][1]["env"] = json!([{"name": "A", "value": "b"}])),
        ),
        (
            "another container",
            template("a:1", |t| t["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "c"}))),
        ),
        (
            "init container",
            template("a:1", |t| t["spec"]["initContainers"] = json!([{"name": "i", "image": "i:1"}])),
        ),
        ("renamed container", template("a:1", |t| t["spec"]["containers"][1]["name"] = json!("other"))),
        ("grace", template("a:1", |t| t["spec"]["terminationGracePeriodSeconds"] = json!(5))),
    ] {
        assert_eq!(change(&old, &new), None, "{what}");
    }
}

#[test]
fn metadata_that_a_container_reads_needs_its_restart() {
    let old = template("a:1", |_| {});
    let zone = |image| template(image, |t| t["metadata"]["labels"]["zone"] = json!("b"));
    assert_eq!(change(&old, &zone("a:1")), None);
    assert!(change(&old, &zone("a:2")).is_some());
}

fn pod(image: &str) -> Pod {
    let mut pod = Pod::default();
    for (name, image) in [("main", image), ("side", "s:1")] {
        pod.spec.containers.push(Container {
            name: name.into(),
            image: image.into(),
            ..Container::default()
        });
        pod.status.container_statuses.push(status(name, image, 1));
    }
    pod
}

fn status(name: &str, image: &str, instance: i32) -> ContainerStatus {
    ContainerStatus {
        name: name.into(),
        ready: true,
        image: image.into(),
        image_id: format!("sha256:{image}"),
        container_id: format!("c://{name}/{instance}"),
        state: ContainerState {
            running: Some(ContainerStateRunning::default()),
            ..ContainerState::default()
        },
        ..ContainerStatus::default()
    }
}

/// What the server makes of a start patch.
fn patched(pod: &Pod, patch: &Value) -> Pod {
    let mut pod = pod.clone();
    for (key, value) in patch["metadata"]["annotations"].as_object().unwrap() {
        match value.as_str() {
            Some(text) => pod.metadata.annotations.insert(key.clone(), text.to_owned()),
            None => pod.metadata.annotations.remove(key),
        };
    }
    for container in patch["spec"]["containers"].as_array().unwrap_or(&Vec::new()) {
        let name = container["name"].as_str().unwrap();
        let slot = pod.spec.containers.iter_mut().find(|c| c.name == name).unwrap();
        slot.image = container["image"].as_str().unwrap().to_owned();
    }
    pod
}

fn begin(pod: &Pod, image: &str, grace_seconds: i32) -> (Pod, Value) {
    let change = Change { images: [("main".to_owned(), image.to_owned())].into(), ..Change::default() };
    let patch = start(&Start {
        pod,
        revision: "web-abc",
        change: &change,
        grace_seconds,
        state: Some(State::Updating),
        now: Time::from_secs(60),
    });
    (patched(pod, &patch), patch)
}

#[test]
fn the_patch_carries_image_revision_record_and_state() {
    let (after, patch) = begin(&pod("a:1"), "a:2", 0);
    expect_test::expect![[r#"
        {
          "metadata": {
            "annotations": {
              "apps.kruise.io/inplace-update-state": "{\"containerBatchesRecord\":[{\"containers\":[\"main\"],\"timestamp\":\"1970-01-01T00:01:00Z\"}],\"lastContainerStatuses\":{\"main\":{\"containerID\":\"c://main/1\",\"imageID\":\"sha256:a:1\"}},\"revision\":\"web-abc\",\"updateImages\":true,\"updateTimestamp\":\"1970-01-01T00:01:00Z\"}",
              "lifecycle.apps.kruise.io/timestamp": "1970-01-01T00:01:00Z"
            },
            "labels": {
              "controller-revision-hash": "web-abc",
              "lifecycle.apps.kruise.io/state": "Updating",
              "pod-template-hash": "abc"
            }
          },
          "spec": {
            "containers": [
              {
                "image": "a:2",
                "name": "main"
              }
            ]
          }
        }"#]].assert_eq(&serde_json::to_string_pretty(&patch).unwrap());
    assert_eq!(progress(&after), Progress::Running("main".into()));
}

#[test]
fn complete_when_the_new_image_runs() {
    let (mut after, _) = begin(&pod("a:1"), "a:2", 0);
    after.status.container_statuses[0] = status("main", "a:2", 2);
    assert_eq!(progress(&after), Progress::Idle);
    after.status.container_statuses[0].state =
        ContainerState { waiting: Some(ContainerStateWaiting::default()), ..ContainerState::default() };
    assert_eq!(progress(&after), Progress::Running("main".into()));
    after.status.container_statuses.remove(0);
    assert_eq!(progress(&after), Progress::Running("main".into()));
}

#[test]
fn complete_when_the_same_image_runs_under_a_new_name() {
    let (mut after, _) = begin(&pod("a:1"), "a:other", 0);
    let mut restarted = status("main", "a:other", 2);
    restarted.image_id = "sha256:a:1".into();
    after.status.container_statuses[0] = restarted.clone();
    assert_eq!(progress(&after), Progress::Idle);
    // Some runtimes report another name of the same image.
    restarted.image = "docker.io/library/a:1".into();
    after.status.container_statuses[0] = restarted.clone();
    assert_eq!(progress(&after), Progress::Idle);
    // The old instance under the new name is not the new one.
    restarted.image = "a:other".into();
    restarted.container_id = "c://main/1".into();
    after.status.container_statuses[0] = restarted;
    assert_eq!(progress(&after), Progress::Running("main".into()));
}

#[test]
fn an_update_that_replaces_another_is_not_completed_by_it() {
    let (first, _) = begin(&pod("a:1"), "a:2", 0);
    let (mut second, _) = begin(&first, "a:3", 0);
    second.status.container_statuses[0] = status("main", "a:2", 2);
    assert_eq!(progress(&second), Progress::Running("main".into()));
    second.status.container_statuses[0] = status("main", "a:3", 3);
    assert_eq!(progress(&second), Progress::Idle);
}

#[test]
fn going_back_before_the_node_acted_is_complete_at_once() {
    let (there, _) = begin(&pod("a:1"), "a:2", 0);
    let (back, _) = begin(&there, "a:1", 0);
    assert_eq!(progress(&back), Progress::Idle);
}

#[test]
fn a_record_of_openkruise_is_understood() {
    let mut pod = pod("a:2");
    let text = r#"{"revision":"web-abc","updateTimestamp":"2026-01-01T00:00:00Z","lastContainerStatuses":{"main":{"imageID":"sha256:a:1"}},"updateImages":true,"containerBatchesRecord":[{"timestamp":"2026-01-01T00:00:00Z","containers":["main"]}]}"#;
    pod.metadata.annotations.insert(names::INPLACE_STATE.into(), text.into());
    assert_eq!(json!(record(&pod).unwrap().unwrap()).to_string().len(), text.len());
    assert_eq!(progress(&pod), Progress::Idle);
    pod.status.container_statuses[0] = status("main", "a:1", 1);
    assert_eq!(progress(&pod), Progress::Running("main".into()));
}

#[test]
fn a_grace_period_holds_the_images_back() {
    let (waiting, patch) = begin(&pod("a:1"), "a:2", 30);
    assert_eq!(patch["spec"], Value::Null);
    let Progress::Grace(held) = progress(&waiting) else { panic!("it waits") };
    assert_eq!(due(&waiting, &held), Some(Time::from_secs(90)));
    let done = patched(&waiting, &finish_grace(&waiting, &held, Time::from_secs(90)));
    assert_eq!(
        (done.spec.containers[0].image.as_str(), progress(&done)),
        ("a:2", Progress::Running("main".into()))
    );
    // Another target during the grace period begins anew and forgets the pending images.
    let (other, _) = begin(&waiting, "a:3", 0);
    assert_eq!((other.spec.containers[0].image.as_str(), pending(&other)), ("a:3", None));
    // Going back during the grace period changes nothing and is complete at once.
    let (back, patch) = begin(&waiting, "a:1", 0);
    assert_eq!((patch["spec"].clone(), pending(&back), progress(&back)), (Value::Null, None, Progress::Idle));
}

#[test]
fn a_container_still_under_way_is_waited_for_by_the_next_update() {
    let (first, _) = begin(&pod("a:1"), "a:2", 0);
    let change = Change { images: [("side".to_owned(), "s:2".to_owned())].into(), ..Change::default() };
    let patch = start(&Start {
        pod: &first,
        revision: "w-2",
        change: &change,
        grace_seconds: 0,
        state: Some(State::Updating),
        now: Time::from_secs(61),
    });
    let mut second = patched(&first, &patch);
    second.status.container_statuses[1] = status("side", "s:2", 2);
    assert_eq!(progress(&second), Progress::Running("main".into()));
    second.status.container_statuses[0] = status("main", "a:2", 2);
    assert_eq!(progress(&second), Progress::Idle);
}

#[test]
fn containers_with_a_higher_priority_go_first() {
    let mut old = pod("a:1");
    old.spec.containers[1].env.push(EnvVar {
        name: PRIORITY.into(),
        value: Some("10".into()),
        value_from: None,
    });
    old.spec.containers[0].env.push(EnvVar {
        name: PRIORITY.into(),
        value: Some("2".into()),
        value_from: None,
    });
    let images = [("main".to_owned(), "a:2".to_owned()), ("side".to_owned(), "s:2".to_owned())].into();
    let change = Change { images, ..Change::default() };
    let patch = start(&Start {
        pod: &old,
        revision: "w-1",
        change: &change,
        grace_seconds: 0,
        state: Some(State::Updating),
        now: Time::from_secs(0),
    });
    let mut first = patched(&old, &patch);
    assert_eq!(first.spec.containers.iter().map(|c| c.image.as_str()).collect::<Vec<_>>(), ["a:1", "s:2"]);
    assert_eq!(progress(&first), Progress::Running("side".into()));
    first.status.container_statuses[1] = status("side", "s:2", 2);
    first.status.container_statuses[1].ready = false;
    assert_eq!(progress(&first), Progress::Running("side".into()));
    first.status.container_statuses[1].ready = true;
    let Progress::NextBatch(record) = progress(&first) else { panic!("the other one is next") };
    let mut second = patched(&first, &next_batch(&first, &record, Time::from_secs(9)));
    assert_eq!(progress(&second), Progress::Running("main".into()));
    second.status.container_statuses[0] = status("main", "a:2", 2);
    assert_eq!(progress(&second), Progress::Idle);
    let batches = record_batches(&second);
    assert_eq!(batches, [vec!["side".to_owned()], vec!["main".to_owned()]]);
}

fn record_batches(pod: &Pod) -> Vec<Vec<String>> {
    record(pod).unwrap().unwrap().container_batches_record.into_iter().map(|b| b.containers).collect()
}

#[test]
fn image_names_are_compared_in_whole_form() {
    for (a, b) in [
        ("nginx", "docker.io/library/nginx:latest"),
        ("index.docker.io/x/y:1", "x/y:1"),
        ("localhost:5000/a", "localhost:5000/a:latest"),
        ("a@sha256:1", "docker.io/library/a@sha256:1"),
    ] {
        assert!(same_image(a, b), "{a} {b}");
    }
    for (a, b) in [("nginx:1", "nginx:2"), ("a/b", "b"), ("x.io/a", "a")] {
        assert!(!same_image(a, b), "{a} {b}");
    }
}
