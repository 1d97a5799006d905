//! Golden stories: what each quota may use, who may start, who gives way.

use std::time::Duration;

use api_koord::{Amounts, names};
use expect_test::expect;
use sched_quota::{Forest, PodFact, Refused, Revoker, Settings, Tree, TreeError};
use stdx::Time;

use crate::{pod, quota};

fn cpu(n: i64) -> Amounts {
    Amounts::from([("cpu", n * 1000)])
}

fn tree(settings: Settings, total: i64) -> Tree {
    Tree::new(settings, cpu(total))
}

/// One line for each quota: what it asks for, uses and may use.
fn table(tree: &mut Tree) -> String {
    let names: Vec<String> =
        tree.names().filter(|n| !n.starts_with("koordinator-")).map(str::to_owned).collect();
    let mut out = String::new();
    for name in names {
        let s = tree.standing(&name).unwrap();
        let (asks, uses, may) = (s.request.text("cpu"), s.used.text("cpu"), s.runtime.text("cpu"));
        out.push_str(&format!("{name}: asks {asks}, uses {uses}, may use {may}\n"));
    }
    out
}

fn pending(quota: &str, cpus: i64) -> PodFact {
    PodFact { is_placed: false, ..pod(quota, cpus, 0) }
}

#[test]
fn what_one_quota_does_not_use_others_may_until_it_asks_back() {
    let mut t = tree(Settings::default(), 100);
    t.set_quota(quota("online", "", 60, 100)).unwrap();
    t.set_quota(quota("batch", "", 40, 100)).unwrap();
    t.set_pod("o", pod("online", 20, 0));
    t.set_pod("b1", pod("batch", 40, 0));
    t.set_pod("b2", pending("batch", 60));
    expect![[r#"
        batch: asks 100, uses 40, may use 80
        online: asks 20, uses 20, may use 20
    "#]]
    .assert_eq(&table(&mut t));
    t.set_pod("o2", pending("online", 50));
    expect![[r#"
        batch: asks 100, uses 40, may use 40
        online: asks 70, uses 20, may use 60
    "#]]
    .assert_eq(&table(&mut t));
}

#[test]
fn a_quota_that_does_not_lend_keeps_its_minimum() {
    let mut t = tree(Settings::default(), 100);
    t.set_quota(api_koord::quota::QuotaWords { lent: false, ..quota("online", "", 60, 100) }).unwrap();
    t.set_quota(quota("batch", "", 40, 100)).unwrap();
    t.set_pod("b", pending("batch", 100));
    expect![[r#"
        batch: asks 100, uses 0, may use 40
        online: asks 60, uses 0, may use 60
    "#]]
    .assert_eq(&table(&mut t));
}

#[test]
fn shares_follow_weights_level_by_level_and_no_unit_is_lost() {
    let mut t = tree(Settings::default(), 100);
    t.set_quota(quota("shop", "", 30, 100)).unwrap();
    t.set_quota(quota("search", "", 30, 100)).unwrap();
    let third = |name: &str| api_koord::quota::QuotaWords { weight: cpu(1), ..quota(name, "shop", 0, 100) };
    for name in ["a", "b", "c"] {
        t.set_quota(third(name)).unwrap();
        t.set_pod(name, pending(name, 50));
    }
    t.set_pod("s", pending("search", 100));
    expect![[r#"
        a: asks 50, uses 0, may use 16667m
        b: asks 50, uses 0, may use 16667m
        c: asks 50, uses 0, may use 16666m
        search: asks 100, uses 0, may use 50
        shop: asks 150, uses 0, may use 50
    "#]]
    .assert_eq(&table(&mut t));
}

#[test]
fn minima_shrink_in_proportion_when_the_cluster_does() {
    let mut t = tree(Settings { scale_min: true, ..Settings::default() }, 50);
    t.set_quota(quota("a", "", 60, 100)).unwrap();
    t.set_quota(quota("b", "", 40, 100)).unwrap();
    t.set_pod("a", pending("a", 100));
    t.set_pod("b", pending("b", 100));
    expect![[r#"
        a: asks 100, uses 0, may use 30
        b: asks 100, uses 0, may use 20
    "#]]
    .assert_eq(&table(&mut t));
    t.set_total(cpu(100));
    expect![[r#"
        a: asks 100, uses 0, may use 60
        b: asks 100, uses 0, may use 40
    "#]]
    .assert_eq(&table(&mut t));
}

#[test]
fn what_pods_use_is_kept_for_them_when_use_is_guaranteed() {
    let story = |guarantee: bool| {
        let mut t = tree(Settings { guarantee, ..Settings::default() }, 100);
        t.set_quota(quota("a", "", 10, 100)).unwrap();
        t.set_quota(quota("b", "", 10, 100)).unwrap();
        t.set_pod("a", pod("a", 80, 0));
        t.set_pod("a-more", pending("a", 20));
        t.set_pod("b", pending("b", 100));
        table(&mut t)
    };
    expect![[r#"
        a: asks 100, uses 80, may use 50
        b: asks 100, uses 0, may use 50
    "#]]
    .assert_eq(&story(false));
    expect![[r#"
        a: asks 100, uses 80, may use 85
        b: asks 100, uses 0, may use 15
    "#]]
    .assert_eq(&story(true));
}

#[test]
fn a_pod_beyond_its_quota_is_refused_in_koordinator_s_words() {
    let mut t = tree(Settings { parents: true, ..Settings::default() }, 100);
    t.set_quota(quota("shop", "", 20, 30)).unwrap();
    t.set_quota(quota("web", "shop", 10, 40)).unwrap();
    t.set_quota(quota("api", "shop", 10, 40)).unwrap();
    t.set_pod("w", pod("web", 12, 0));
    let refused = |t: &mut Tree, quota: &str, cpus: i64, firm: bool| {
        t.admit(quota, &cpu(cpus), firm).unwrap_err().to_string()
    };
    expect!["Insufficient quotas, quotaName: web, runtime: cpu:12, used: cpu:12, pod's request: cpu:20, exceedDimensions: [cpu]"]
        .assert_eq(&refused(&mut t, "web", 20, false));
    t.set_pod("w2", PodFact { is_firm: true, ..pending("web", 20) });
    expect!["Insufficient non-preemptible quotas, quotaName: web, min: cpu:10, nonPreemptibleUsed: <empty>, pod's request: cpu:11, exceedDimensions: [cpu]"]
        .assert_eq(&refused(&mut t, "web", 11, true));
    assert_eq!(t.admit("web", &cpu(8), false), Ok(()));
    t.set_pod("x", pod("api", 20, 0));
    expect!["Insufficient quotas, quotaNameTopo: [shop web], runtime: cpu:30, used: cpu:32, pod's request: cpu:1, exceedDimensions: [cpu]"]
        .assert_eq(&refused(&mut t, "web", 1, false));
    assert_eq!(t.admit("gone", &cpu(1), false), Err(Refused::NoQuota));
    assert_eq!(
        t.admit("web", &Amounts::from([("gpu", 8)]), false),
        Ok(()),
        "what no maximum names is not judged"
    );
}

#[test]
fn without_runtime_the_maximum_is_the_limit() {
    let mut t = tree(Settings { runtime: false, ..Settings::default() }, 10);
    t.set_quota(quota("a", "", 1, 40)).unwrap();
    assert_eq!(t.admit("a", &cpu(40), false), Ok(()));
    assert!(t.admit("a", &cpu(41), false).is_err());
}

#[test]
fn the_fewest_and_least_important_pods_of_the_same_quota_give_way() {
    let mut t = tree(Settings::default(), 20);
    t.set_quota(quota("a", "", 20, 20)).unwrap();
    t.set_quota(quota("b", "", 0, 20)).unwrap();
    t.set_pod("low-big", pod("a", 8, 1));
    t.set_pod("low-late", PodFact { created: Time::from_secs(9), ..pod("a", 2, 1) });
    t.set_pod("mid", pod("a", 6, 2));
    t.set_pod("firm", PodFact { is_firm: true, ..pod("a", 4, 0) });
    t.set_pod("other", pod("b", 4, 0));
    let names = |t: &mut Tree, cpus: i64, priority: i32| {
        t.make_room("a", &cpu(cpus), false, priority)
            .map(|v| v.iter().map(|v| v.uid.to_string()).collect::<Vec<_>>().join(" "))
    };
    assert_eq!(names(&mut t, 2, 5).as_deref(), Some("low-late"));
    assert_eq!(names(&mut t, 6, 5).as_deref(), Some("low-big"), "what need not go after all stays");
    assert_eq!(names(&mut t, 14, 5).as_deref(), Some("mid low-big"));
    assert_eq!(names(&mut t, 11, 2), None, "only lower priority gives way");
    assert_eq!(names(&mut t, 17, 9), None, "firm pods and other quotas' pods do not");
    assert_eq!(t.make_room("a", &cpu(17), true, 9), None);
}

#[test]
fn a_quota_that_uses_too_much_for_too_long_gives_back() {
    let mut t = tree(Settings::default(), 100);
    t.set_quota(quota("online", "", 60, 100)).unwrap();
    t.set_quota(quota("batch", "", 40, 100)).unwrap();
    for (uid, cpus, priority) in [("b1", 30, 2), ("b2", 30, 1), ("b3", 10, 1)] {
        t.set_pod(uid, pod("batch", cpus, priority));
    }
    t.set_pod("o", pending("online", 60));
    let (mut revoker, delay) = (Revoker::default(), Duration::from_secs(120));
    let at = Time::from_secs;
    assert!(revoker.observe(&mut t, at(0), delay).is_empty());
    assert!(revoker.observe(&mut t, at(120), delay).is_empty());
    let told = revoker.observe(&mut t, at(121), delay);
    assert_eq!(
        (told.len(), told[0].quota.as_str(), told[0].runtime.text("cpu")),
        (1, "batch", "40".to_owned())
    );
    assert_eq!(told[0].victims.iter().map(|v| &*v.uid).collect::<Vec<_>>(), ["b2"], "b1 and b3 are 40");
    assert!(revoker.observe(&mut t, at(122), delay).is_empty(), "not at once again");
    t.remove_pod("b2");
    assert!(revoker.observe(&mut t, at(400), delay).is_empty() && revoker.next(delay).is_none());
}

#[test]
fn a_quota_may_come_before_its_parent_and_is_never_above_itself() {
    let mut t = tree(Settings::default(), 10);
    t.set_quota(quota("leaf", "mid", 1, 10)).unwrap();
    t.set_pod("p", pending("leaf", 5));
    assert_eq!((t.runtime("leaf").text("cpu"), t.is_rooted("leaf")), ("0".into(), false));
    t.set_quota(quota("mid", "", 1, 10)).unwrap();
    assert_eq!(t.runtime("leaf").text("cpu"), "5");
    assert_eq!(t.set_quota(quota("mid", "leaf", 1, 10)), Err(TreeError::Circle("mid".into())));
    assert_eq!(t.set_quota(quota("mid", "mid", 1, 10)), Err(TreeError::Circle("mid".into())));
    assert_eq!(t.set_quota(quota(names::ROOT_QUOTA, "", 1, 1)), Err(TreeError::Root));
    for i in 0..13 {
        t.set_quota(quota(
            &format!("d{i}"),
            &if i == 0 { "leaf".into() } else { format!("d{}", i - 1) },
            0,
            10,
        ))
        .unwrap();
    }
    let deep = t.set_quota(quota("d13", "d12", 0, 10)).and_then(|()| t.set_quota(quota("d14", "d13", 0, 10)));
    assert_eq!(deep, Err(TreeError::Deep("d13".into())));
}

#[test]
fn system_and_default_pods_are_taken_off_before_anything_is_shared() {
    let mut t = tree(Settings::default(), 100);
    t.set_quota(quota("a", "", 0, 100)).unwrap();
    t.set_quota(api_koord::quota::QuotaWords { name: names::DEFAULT_QUOTA.into(), ..quota("", "", 0, 1000) })
        .unwrap();
    t.set_pod("d", pod(names::DEFAULT_QUOTA, 30, 0));
    t.set_pod("a", pending("a", 100));
    assert_eq!(t.runtime("a").text("cpu"), "70");
    assert_eq!(t.admit(names::DEFAULT_QUOTA, &cpu(970), false), Ok(()));
    assert!(t.admit(names::DEFAULT_QUOTA, &cpu(971), false).is_err());
}

#[test]
fn a_pod_finds_its_quota_by_label_namespace_and_list_and_moves_when_that_changes() {
    let mut f = Forest::new(Settings::default(), cpu(100));
    let mut own = quota("team", "", 0, 100);
    own.namespace = "team".into();
    f.set_quota(own).unwrap();
    f.set_quota(api_koord::quota::QuotaWords { namespaces: vec!["n".into()], ..quota("listed", "", 0, 100) })
        .unwrap();
    let find = |f: &Forest, label: Option<&str>, ns: &str| f.quota_of(label, ns).to_owned();
    assert_eq!(find(&f, None, "team"), "team");
    assert_eq!(find(&f, None, "n"), "listed");
    assert_eq!(find(&f, Some("listed"), "team"), "listed");
    assert_eq!(find(&f, Some("later"), "team"), names::DEFAULT_QUOTA);
    assert_eq!(find(&f, None, "quotas"), names::DEFAULT_QUOTA, "a quota's own namespace is nobody's by that");

    f.set_pod("p", Some("later"), "x", pod("", 7, 0));
    assert_eq!(
        f.tree("").unwrap().standing(names::DEFAULT_QUOTA).unwrap().used.text("cpu"),
        "0",
        "its maximum names nothing"
    );
    f.set_quota(api_koord::quota::QuotaWords {
        tree: "gpu".into(),
        is_root: true,
        is_parent: true,
        total: Some(cpu(40)),
        ..quota("gpu-root", "", 40, 40)
    })
    .unwrap();
    f.set_quota(api_koord::quota::QuotaWords { tree: "gpu".into(), ..quota("later", "gpu-root", 0, 40) })
        .unwrap();
    assert_eq!(f.tree_of("later").unwrap().standing("later").unwrap().used.text("cpu"), "7");
    assert_eq!(
        (f.tree("").unwrap().total().text("cpu"), f.tree("gpu").unwrap().total().text("cpu")),
        ("60".into(), "40".into())
    );
    f.set_pod("q", Some("later"), "x", pending("", 34));
    assert!(
        f.admit("q")
            .unwrap_err()
            .to_string()
            .starts_with("Insufficient quotas, quotaName: later, runtime: cpu:40, used: cpu:7")
    );
    f.remove_pod("p");
    assert_eq!(f.admit("q"), Ok(()));
    f.remove_quota("later");
    assert_eq!(f.tree("").unwrap().pods().len(), 1, "back in the default quota");
}
