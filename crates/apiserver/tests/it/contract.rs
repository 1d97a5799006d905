//! The contract of LIST and WATCH, statement by statement: which combinations of freshness are taken, what a list is a list of, and
//! that a watch is ordered, unique, reliable, atomic, resumable and bookmarkable.
//!
//! Source: the API concepts of Kubernetes 1.36 ("Resource versions"), apimachinery's `ValidateListOptions`, and the guarantees that etcd
//! names for watches.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::fixture::{MAPS, PODS, Watch, World, config_map, pod, version};

/// What a client may say about freshness.
#[derive(Clone, Copy, Debug)]
struct Asked {
    version: Option<&'static str>,
    rule: Option<&'static str>,
    initial: Option<bool>,
    bookmarks: bool,
}

impl Asked {
    fn all() -> Vec<Asked> {
        let mut out = Vec::new();
        for version in [None, Some("0"), Some("HEAD"), Some("99999")] {
            for rule in [None, Some("Exact"), Some("NotOlderThan"), Some("Nope")] {
                for initial in [None, Some(false), Some(true)] {
                    for bookmarks in [false, true] {
                        out.push(Asked { version, rule, initial, bookmarks });
                    }
                }
            }
        }
        out
    }

    fn query(&self, head: u64) -> String {
        let version =
            self.version.map(|v| format!("&resourceVersion={}", v.replace("HEAD", &head.to_string())));
        let rule = self.rule.map(|r| format!("&resourceVersionMatch={r}"));
        let initial = self.initial.map(|i| format!("&sendInitialEvents={i}"));
        let bookmarks = self.bookmarks.then(|| "&allowWatchBookmarks=true".to_owned());
        [version, rule, initial, bookmarks].into_iter().flatten().collect()
    }

    /// Whether the rule and the initial events fit together (`validateWatchOptions`).
    fn is_valid_watch(&self) -> bool {
        match self.initial {
            Some(_) => self.rule == Some("NotOlderThan"),
            None => self.rule.is_none(),
        }
    }

    /// Whether the rule fits the version (`ValidateListOptions`).
    fn is_valid_list(&self) -> bool {
        let fits = match (self.rule, self.version) {
            (None, _) => true,
            (Some("Exact"), Some(version)) => version != "0",
            (Some("NotOlderThan"), Some(_)) => true,
            _ => false,
        };
        fits && self.initial.is_none()
    }

    /// Whether a watch begins with what is there.
    fn has_initial(&self) -> bool {
        match self.initial {
            Some(initial) => initial,
            None => matches!(self.version, None | Some("0")),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_combination_of_freshness_starts_a_watch_where_it_says_or_is_refused() {
    for asked in Asked::all() {
        let w = World::new().await;
        w.post(MAPS, config_map("a", "1")).await.created();
        let head = w.revision();
        w.post(MAPS, config_map("b", "1")).await.created();
        let path = format!("{MAPS}?watch=1&timeoutSeconds=5{}", asked.query(head));
        let is_future = asked.version == Some("99999");
        if !asked.is_valid_watch() {
            w.get(&path).await.refused(422);
            continue;
        }
        if is_future && asked.has_initial() {
            let refused = w.get(&path).await.refused(504);
            assert!(
                refused.starts_with("Timeout: Too large resource version: 99999"),
                "{asked:?}: {refused}"
            );
            continue;
        }
        let mut watch = w.watch(&path).await;
        let mut expected = Vec::new();
        if asked.has_initial() {
            expected.extend(["ADDED a", "ADDED b"]);
        } else if asked.version == Some("HEAD") {
            expected.push("ADDED b");
        }
        if asked.bookmarks && asked.initial == Some(true) {
            expected.push("BOOKMARK -");
        }
        assert_eq!(watch.take(expected.len()).await, expected, "{asked:?}");
        w.post(MAPS, config_map("c", "1")).await.created();
        let rest = watch.rest().await;
        let kinds: Vec<&str> = rest.iter().map(|e| e["type"].as_str().unwrap()).collect();
        let live = if is_future { vec![] } else { vec!["ADDED"] };
        let end = if asked.bookmarks { vec!["BOOKMARK"] } else { vec![] };
        assert_eq!(kinds, [live, end].concat(), "{asked:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_combination_of_freshness_lists_what_it_says_or_is_refused() {
    for asked in Asked::all() {
        let w = World::new().await;
        w.post(MAPS, config_map("a", "1")).await.created();
        let head = w.revision();
        w.post(MAPS, config_map("b", "1")).await.created();
        let answer = w.get(&format!("{MAPS}?{}", &asked.query(head))).await;
        if !asked.is_valid_list() {
            answer.refused(422);
        } else if asked.version == Some("99999") {
            assert_eq!(answer.body["details"]["retryAfterSeconds"], 1, "{asked:?}");
            answer.refused(504);
        } else {
            let list = answer.ok();
            let is_past = asked.rule == Some("Exact");
            let expected = if is_past { vec!["a"] } else { vec!["a", "b"] };
            assert_eq!(names(&list), expected, "{asked:?}");
            assert_eq!(version(&list), if is_past { head } else { w.revision() }, "{asked:?}");
        }
    }
}

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|i| i["metadata"]["name"].as_str().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn the_version_of_a_list_is_that_of_its_snapshot_and_not_of_its_newest_item() {
    let w = World::new().await;
    let a = w.post(MAPS, config_map("a", "1")).await.created();
    w.post(PODS, pod("elsewhere")).await.created();
    let list = w.get(MAPS).await.ok();
    assert_eq!(version(&list), w.revision());
    assert!(version(&list) > version(&a));
    let one = w.get(&format!("{MAPS}?fieldSelector=metadata.name%3Da")).await.ok();
    assert_eq!(version(&one), w.revision());
}

#[tokio::test(start_paused = true)]
async fn reads_of_any_age_show_the_head_and_a_read_waits_for_what_comes_in_time() {
    let w = World::new().await;
    let a = w.post(MAPS, config_map("a", "1")).await.created();
    w.patch(&format!("{MAPS}/a"), "merge", json!({"data": {"k": "2"}})).await.ok();
    for asked in ["0".to_owned(), version(&a).to_string(), w.revision().to_string()] {
        let got = w.get(&format!("{MAPS}/a?resourceVersion={asked}")).await.ok();
        assert_eq!(got["data"]["k"], "2", "not older than {asked}");
    }
    let next = w.revision() + 1;
    let (one, many) = (format!("{MAPS}/a?resourceVersion={next}"), format!("{MAPS}?resourceVersion={next}"));
    let write = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        w.patch(&format!("{MAPS}/a"), "merge", json!({"data": {"k": "3"}})).await.ok();
    };
    let (one, many, ()) = tokio::join!(w.get(&one), w.get(&many), write);
    assert_eq!(one.ok()["data"]["k"], "3");
    assert_eq!(many.ok()["items"][0]["data"]["k"], "3");
}

#[tokio::test(start_paused = true)]
async fn a_read_of_the_future_is_refused_after_three_seconds_with_a_time_to_come_again() {
    let w = World::new().await;
    w.post(MAPS, config_map("a", "1")).await.created();
    for path in [format!("{MAPS}/a?resourceVersion=99999"), format!("{MAPS}?resourceVersion=99999")] {
        let started = tokio::time::Instant::now();
        let answer = w.get(&path).await;
        assert_eq!(started.elapsed(), Duration::from_secs(3), "{path}");
        assert_eq!(answer.body["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
        assert_eq!(answer.body["details"]["retryAfterSeconds"], 1);
        answer.refused(504);
    }
}

#[tokio::test(start_paused = true)]
async fn remaining_items_are_told_of_what_is_not_selected_only() {
    let w = World::new().await;
    for name in ["a", "b", "c"] {
        let mut map = config_map(name, "1");
        map["metadata"]["labels"]["on"] = json!("1");
        w.post(MAPS, map).await.created();
    }
    let told = w.get(&format!("{MAPS}?limit=1")).await.ok();
    assert_eq!(told["metadata"]["remainingItemCount"], 2);
    for selector in ["labelSelector=on", "fieldSelector=metadata.name!%3Dz"] {
        let list = w.get(&format!("{MAPS}?limit=1&{selector}")).await.ok();
        assert!(list["metadata"]["continue"].is_string(), "{selector}");
        assert!(list["metadata"].get("remainingItemCount").is_none(), "{selector}");
    }
    let last = w.get(&format!("{MAPS}?limit=3")).await.ok();
    assert!(
        last["metadata"].get("remainingItemCount").is_none() && last["metadata"].get("continue").is_none()
    );
}

/// Reads page after page.
async fn pages(w: &World, query: &str) -> Vec<Value> {
    let mut out = vec![w.get(&format!("{MAPS}?{query}")).await.ok()];
    while let Some(token) = out.last().and_then(|l| l["metadata"]["continue"].as_str()) {
        out.push(w.get(&format!("{MAPS}?{query}&continue={token}")).await.ok());
    }
    out
}

#[tokio::test(start_paused = true)]
async fn a_limit_counts_what_matches_and_the_pages_hold_each_match_once() {
    let w = World::new().await;
    for i in 0..10 {
        let mut map = config_map(&format!("m{i}"), "1");
        if i % 3 == 0 {
            map["metadata"]["labels"]["on"] = json!("1");
        }
        w.post(MAPS, map).await.created();
    }
    let pages = pages(&w, "limit=2&labelSelector=on").await;
    let by_page: Vec<Vec<&str>> = pages.iter().map(names).collect();
    assert_eq!(by_page, [vec!["m0", "m3"], vec!["m6", "m9"]]);
    let versions: Vec<u64> = pages.iter().map(version).collect();
    assert!(versions.windows(2).all(|w| w[0] == w[1]), "{versions:?}");
}

#[tokio::test(start_paused = true)]
async fn a_continued_list_takes_no_version_or_rule_of_its_own() {
    let w = World::new().await;
    for name in ["a", "b"] {
        w.post(MAPS, config_map(name, "1")).await.created();
    }
    let first = w.get(&format!("{MAPS}?limit=1")).await.ok();
    let token = first["metadata"]["continue"].as_str().unwrap();
    let refused = w.get(&format!("{MAPS}?continue={token}&resourceVersion=1")).await.refused(400);
    assert_eq!(refused, "specifying resource version is not allowed when using continue");
    let rule = "resourceVersion=1&resourceVersionMatch=NotOlderThan";
    let refused = w.get(&format!("{MAPS}?continue={token}&{rule}")).await.refused(422);
    assert!(refused.contains("resourceVersionMatch is forbidden when continue is provided"), "{refused}");
    let second = w.get(&format!("{MAPS}?continue={token}&resourceVersion=0")).await.ok();
    assert_eq!(names(&second), ["b"]);
}

fn short(events_max: usize) -> store::Limits {
    let limits = store::Limits::default().inline();
    store::Limits { window: store::Window { events_max, ..limits.window }, ..limits }
}

#[tokio::test(start_paused = true)]
async fn an_exact_list_of_the_forgotten_past_is_expired() {
    let w = World::with(short(4)).await;
    w.post(MAPS, config_map("a", "1")).await.created();
    let past = w.revision();
    for i in 0..20 {
        w.patch(&format!("{MAPS}/a"), "merge", json!({"data": {"k": i.to_string()}})).await.ok();
    }
    let answer = w.get(&format!("{MAPS}?resourceVersion={past}&resourceVersionMatch=Exact")).await;
    assert_eq!(answer.body["reason"], "Expired");
    assert!(answer.refused(410).starts_with(&format!("too old resource version: {past} (")));
}

#[tokio::test(start_paused = true)]
async fn what_an_inconsistent_token_gives_is_of_one_snapshot_again() {
    let w = World::with(short(8)).await;
    for name in ["a", "b", "c", "d", "e"] {
        w.post(MAPS, config_map(name, "1")).await.created();
    }
    let first = w.get(&format!("{MAPS}?limit=1")).await.ok();
    for i in 0..20 {
        w.patch(&format!("{MAPS}/e"), "merge", json!({"data": {"k": i.to_string()}})).await.ok();
    }
    let token = first["metadata"]["continue"].as_str().unwrap();
    let expired = w.get(&format!("{MAPS}?limit=1&continue={token}")).await;
    let token = expired.body["metadata"]["continue"].as_str().unwrap().to_owned();
    assert!(expired.refused(410).contains("inconsistent list"));
    let second = w.get(&format!("{MAPS}?limit=2&continue={token}")).await.ok();
    assert_eq!((names(&second), version(&second)), (vec!["b", "c"], w.revision()));
    w.delete(&format!("{MAPS}/d"), json!(null)).await.ok();
    let token = second["metadata"]["continue"].as_str().unwrap();
    let third = w.get(&format!("{MAPS}?limit=9&continue={token}")).await.ok();
    assert_eq!((names(&third), version(&third)), (vec!["d", "e"], version(&second)));
}

#[tokio::test(start_paused = true)]
async fn the_end_mark_is_as_new_as_all_before_it_and_comes_for_an_empty_list_too() {
    let w = World::new().await;
    let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mark = w.watch(&format!("{MAPS}?{query}")).await.next().await.unwrap();
    assert_eq!(mark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(
        (mark["object"]["kind"].as_str(), version(&mark["object"])),
        (Some("ConfigMap"), w.revision())
    );
    for i in 0..450 {
        w.post(MAPS, config_map(&format!("m{i:03}"), "1")).await.created();
    }
    let mut watch = w.watch(&format!("{MAPS}?{query}")).await;
    let mut newest = 0;
    for i in 0..450 {
        if i == 200 {
            w.patch(&format!("{MAPS}/m449"), "merge", json!({"data": {"k": "late"}})).await.ok();
        }
        let event = watch.next().await.unwrap();
        assert_eq!(event["object"]["data"]["k"], "1", "one snapshot, whatever happens meanwhile");
        newest = newest.max(version(&event["object"]));
    }
    let mark = watch.next().await.unwrap();
    assert!(mark["type"] == "BOOKMARK" && version(&mark["object"]) >= newest);
    let late = watch.next().await.unwrap();
    assert_eq!((&late["type"], &late["object"]["data"]["k"]), (&json!("MODIFIED"), &json!("late")));
    assert!(version(&late["object"]) > version(&mark["object"]));
}

#[tokio::test(start_paused = true)]
async fn a_bookmark_comes_after_a_minute_of_silence_and_one_resumes_from_it_without_gap_or_repetition() {
    let w = World::new().await;
    let query = "watch=1&allowWatchBookmarks=true&resourceVersion";
    let mut watch = w.watch(&format!("{MAPS}?{query}={}", w.revision())).await;
    w.post(MAPS, config_map("a", "1")).await.created();
    assert_eq!(watch.take(1).await, ["ADDED a"]);
    w.post(PODS, pod("elsewhere")).await.created();
    let started = tokio::time::Instant::now();
    let mark = watch.next().await.unwrap();
    assert_eq!(mark["type"], "BOOKMARK");
    assert_eq!(started.elapsed(), Duration::from_secs(60));
    assert_eq!(version(&mark["object"]), w.revision(), "what happened elsewhere is behind it");
    drop(watch);
    w.post(MAPS, config_map("b", "1")).await.created();
    let mut resumed = w.watch(&format!("{MAPS}?{query}={}", version(&mark["object"]))).await;
    assert_eq!(resumed.take(1).await, ["ADDED b"]);
}

#[tokio::test(start_paused = true)]
async fn bookmarks_come_to_those_who_ask_only() {
    let w = World::new().await;
    let events = w.watch(&format!("{MAPS}?watch=1&timeoutSeconds=300")).await.rest().await;
    assert_eq!(events, Vec::<Value>::new());
    let initial = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
    let events = w.watch(&format!("{MAPS}?watch=1&timeoutSeconds=300&{initial}")).await.rest().await;
    assert_eq!(events, Vec::<Value>::new());
}

#[tokio::test(start_paused = true)]
async fn a_watch_without_a_timeout_ends_between_half_an_hour_and_an_hour() {
    let w = World::new().await;
    let mut lengths = Vec::new();
    for _ in 0..4 {
        let started = tokio::time::Instant::now();
        w.watch(&format!("{MAPS}?watch=1")).await.rest().await;
        lengths.push(started.elapsed().as_secs());
    }
    assert!(lengths.iter().all(|l| (1800..3600).contains(l)), "{lengths:?}");
    assert!(lengths.windows(2).any(|w| w[0] != w[1]), "not all at once: {lengths:?}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_from_the_future_gives_what_comes_after_it() {
    let w = World::new().await;
    let from = w.revision() + 2;
    let mut watch = w.watch(&format!("{MAPS}?watch=1&resourceVersion={from}&timeoutSeconds=9")).await;
    for name in ["a", "b", "c"] {
        w.post(MAPS, config_map(name, "1")).await.created();
    }
    let events = watch.rest().await;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["object"]["metadata"]["name"], "c");
}

#[tokio::test(start_paused = true)]
async fn who_never_matched_is_not_deleted_for_a_watcher_and_who_matched_is_once() {
    let w = World::new().await;
    let from = w.revision();
    let mut map = config_map("a", "1");
    map["metadata"]["labels"]["on"] = json!("1");
    w.post(MAPS, map).await.created();
    w.post(MAPS, config_map("b", "1")).await.created();
    w.patch(&format!("{MAPS}/a"), "merge", json!({"metadata": {"labels": {"on": null}}})).await.ok();
    w.delete(&format!("{MAPS}/a"), json!(null)).await.ok();
    w.delete(&format!("{MAPS}/b"), json!(null)).await.ok();
    let path = format!("{MAPS}?watch=1&labelSelector=on&resourceVersion={from}&timeoutSeconds=1");
    let events = w.watch(&path).await.rest().await;
    let kinds: Vec<&str> = events.iter().map(|e| e["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["ADDED", "DELETED"]);
}

/// Versions of what is there until the stream has nothing more to say at once.
async fn versions(watch: &mut Watch) -> Vec<(u64, String)> {
    let mut out = Vec::new();
    for event in watch.rest().await {
        out.push((
            version(&event["object"]),
            event["object"]["metadata"]["name"].as_str().unwrap().to_owned(),
        ));
    }
    out
}

#[tokio::test(start_paused = true)]
async fn one_version_is_one_event_and_all_kinds_share_one_order() {
    let w = World::new().await;
    let from = w.revision();
    let mut written = Vec::new();
    for i in 0..12 {
        let (path, object) = if i % 2 == 0 {
            (MAPS, config_map(&format!("o{i}"), "1"))
        } else {
            (PODS, pod(&format!("o{i}")))
        };
        written.push((version(&w.post(path, object).await.created()), format!("o{i}")));
    }
    let query = format!("watch=1&timeoutSeconds=1&resourceVersion={from}");
    let mut seen = versions(&mut w.watch(&format!("{MAPS}?{query}")).await).await;
    let pods = versions(&mut w.watch(&format!("{PODS}?{query}")).await).await;
    assert!(seen.is_sorted() && pods.is_sorted());
    seen.extend(pods);
    seen.sort();
    assert_eq!(
        seen, written,
        "each write has a version of its own, and the versions have the order of the writes"
    );
}

/// What a seeded history does.
#[derive(Clone, Debug)]
enum Step {
    Put(u8, u8, bool),
    Delete(u8),
    /// Somebody writes to another kind.
    Elsewhere,
    /// The reader takes so many events.
    Read(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4_u8, 0..3_u8, any::<bool>()).prop_map(|(name, data, on)| Step::Put(name, data, on)),
        2 => (0..4_u8).prop_map(Step::Delete),
        1 => Just(Step::Elsewhere),
        2 => (0..4_u8).prop_map(Step::Read),
    ]
}

/// What a client believes, kept by the rules of an informer.
#[derive(Default)]
struct Mirror {
    objects: BTreeMap<String, Value>,
    at: u64,
    is_expired: bool,
}

impl Mirror {
    fn take(&mut self, event: &Value) {
        let object = &event["object"];
        if event["type"] == "ERROR" {
            assert_eq!((&object["code"], &object["reason"]), (&json!(410), &json!("Expired")));
            self.is_expired = true;
            return;
        }
        let at = version(object);
        assert!(at > self.at, "{at} after {}: ordered and unique", self.at);
        self.at = at;
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        match event["type"].as_str().unwrap() {
            "ADDED" => assert!(self.objects.insert(name, object.clone()).is_none(), "added twice"),
            "MODIFIED" => {
                assert!(self.objects.insert(name, object.clone()).is_some(), "modified before added")
            }
            "DELETED" => assert!(self.objects.remove(&name).is_some(), "deleted before added"),
            other => panic!("{other}"),
        }
    }

    fn data(&self) -> BTreeMap<String, Value> {
        self.objects.iter().map(|(name, o)| (name.clone(), o["data"]["k"].clone())).collect()
    }
}

/// Runs a history beside a reader of a short memory; the reader ends with the truth, or was told that it cannot.
async fn slow_reader(steps: &[Step], window: usize, selector: &str) -> bool {
    let w = World::with(short(window)).await;
    let from = w.revision();
    let mut watch =
        w.watch(&format!("{MAPS}?watch=1&resourceVersion={from}&timeoutSeconds=30{selector}")).await;
    let mut mirror = Mirror { at: from, ..Mirror::default() };
    for (i, step) in steps.iter().enumerate() {
        match step {
            Step::Put(name, data, on) => {
                let (name, on) = (format!("o{name}"), on.then_some("1"));
                let mut map = config_map(&name, &format!("{data}"));
                map["metadata"]["labels"] = on.map_or(json!({}), |on| json!({"on": on}));
                let put = w.put(&format!("{MAPS}/{name}"), map.clone()).await;
                if put.code == 404 {
                    w.post(MAPS, map).await.created();
                }
            }
            Step::Delete(name) => drop(w.delete(&format!("{MAPS}/o{name}"), json!(null)).await),
            Step::Elsewhere => drop(w.post(PODS, pod(&format!("p{i}"))).await.created()),
            Step::Read(count) => {
                for _ in 0..*count {
                    let next = tokio::time::timeout(Duration::from_millis(1), watch.next()).await;
                    let Ok(Some(event)) = next else { break };
                    mirror.take(&event);
                }
            }
        }
    }
    for event in watch.rest().await {
        mirror.take(&event);
    }
    let query = selector.trim_start_matches('&');
    let truth = w.get(&format!("{MAPS}?{query}")).await.ok();
    let truth: BTreeMap<String, Value> = truth["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|o| (o["metadata"]["name"].as_str().unwrap().to_owned(), o["data"]["k"].clone()))
        .collect();
    assert!(mirror.is_expired || mirror.data() == truth, "{:?} is not {truth:?}", mirror.data());
    mirror.is_expired
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_slow_reader_ends_with_the_truth_or_is_told_410(
        steps in prop::collection::vec(step(), 1..60),
        window in 1..12_usize,
        selected in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(slow_reader(&steps, window, if selected { "&labelSelector=on" } else { "" }));
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_never_reads_is_told_and_one_that_always_reads_never_is() {
    let puts = |i: u8| Step::Put(i % 4, i % 3, true);
    let lazy: Vec<Step> = (0..40).map(puts).collect();
    assert!(slow_reader(&lazy, 4, "").await);
    let eager: Vec<Step> = (0..40).flat_map(|i| [puts(i), Step::Read(3)]).collect();
    assert!(!slow_reader(&eager, 4, "").await);
}
