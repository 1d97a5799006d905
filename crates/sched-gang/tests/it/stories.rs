//! How gangs start, wait, fail and come back.

use api_koord::gang::{Match, Mode, PodGroupStatus};
use expect_test::expect;
use sched_gang::{Gangs, Permit, Place};
use stdx::Time;

use crate::words;

fn at(secs: i64) -> Time {
    Time::from_secs(secs)
}

/// Members `PREFIX1`, `PREFIX2`, … of a gang, the first the oldest.
fn join(gangs: &mut Gangs, gang: &str, prefix: &str, count: i64) {
    for i in 1..=count {
        gangs.set_member(format!("{prefix}{i}"), &format!("n/{prefix}{i}"), None, gang, at(i), false);
    }
}

fn told(permit: Option<Permit>) -> String {
    match permit {
        None => "nothing".to_owned(),
        Some(Permit::Wait { until }) => format!("wait until {}", until.secs()),
        Some(Permit::Go(places)) => format!("go {}", list(&places)),
    }
}

fn list(places: &[Place]) -> String {
    places.iter().map(|p| format!("{}@{}", p.uid, p.node)).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_gang_starts_when_its_minimum_holds_places_and_the_rest_follow() {
    let mut g = Gangs::default();
    g.declare(words("n/g", 2, &[]));
    join(&mut g, "n/g", "p", 3);
    assert_eq!(g.turn("n/g"), ["p1".into(), "p2".into(), "p3".into()]);
    assert_eq!(told(g.placed("p2", "x", at(0))), "wait until 10");
    assert_eq!(told(g.placed("p2", "y", at(1))), "nothing", "it has a place");
    assert_eq!(told(g.placed("p1", "x", at(1))), "go p1@x p2@x");
    assert_eq!(g.failed("p3"), [], "once it has started, one failure is one pod's");
    assert_eq!(told(g.placed("p3", "z", at(2))), "go p3@z");
}

#[test]
fn a_group_of_gangs_starts_as_one() {
    let mut g = Gangs::default();
    g.declare(words("n/a", 1, &["n/a", "n/b"]));
    g.declare(words("n/b", 2, &["n/a", "n/b"]));
    join(&mut g, "n/a", "a", 1);
    join(&mut g, "n/b", "b", 1);
    expect!["gangGroup [n/a n/b] basic check: memberGangs [n/a n/b] child pod not collect enough, current gang: n/a, podName: n/a1"]
        .assert_eq(&g.ready("a1").unwrap_err().to_string());
    join(&mut g, "n/b", "b", 2);
    assert_eq!(g.ready("a1"), Ok(()));
    assert_eq!(g.turn("n/b"), ["a1".into(), "b1".into(), "b2".into()]);
    assert_eq!(told(g.placed("a1", "x", at(0))), "wait until 10");
    assert_eq!(told(g.placed("b1", "x", at(0))), "wait until 10");
    assert_eq!(told(g.placed("b2", "y", at(0))), "go a1@x b1@x b2@y");
}

#[test]
fn a_pod_whose_gang_nobody_describes_waits_and_says_so() {
    let mut g = Gangs::default();
    join(&mut g, "n/g", "p", 1);
    expect!["gang has not init, gangName: n/g, podName: n/p1"]
        .assert_eq(&g.ready("p1").unwrap_err().to_string());
    g.set_member("p1", "n/p1", Some(words("n/g", 1, &["n/g", "n/h"])), "n/g", at(1), false);
    expect![
        "gangGroup [n/g n/h] basic check: memberGangs [n/h] doesn't exists, current gang: n/g, podName: n/p1"
    ]
    .assert_eq(&g.ready("p1").unwrap_err().to_string());
    join(&mut g, "n/h", "h", 1);
    expect![
        "gangGroup [n/g n/h] basic check: memberGangs [n/h] has not init, current gang: n/g, podName: n/p1"
    ]
    .assert_eq(&g.ready("p1").unwrap_err().to_string());
    g.declare(words("n/h", 1, &["n/g", "n/h"]));
    assert_eq!(g.ready("p1"), Ok(()));
}

#[test]
fn a_strict_gang_gives_everything_back_when_one_member_fails() {
    let mut g = Gangs::default();
    g.declare(words("n/a", 2, &["n/a", "n/b"]));
    g.declare(words("n/b", 1, &["n/a", "n/b"]));
    join(&mut g, "n/a", "a", 2);
    join(&mut g, "n/b", "b", 1);
    g.placed("a1", "x", at(0));
    g.placed("a2", "y", at(0));
    assert_eq!(list(&g.failed("b1")), "a1@x a2@y", "also what other gangs of the group hold");
    assert_eq!(g.failed("b1"), [], "a place is given back once");
    assert_eq!(g.turn("n/a").len(), 3);
}

#[test]
fn a_non_strict_gang_keeps_what_it_has_until_it_times_out() {
    let mut g = Gangs::default();
    g.declare(api_koord::gang::GangWords { mode: Mode::NonStrict, ..words("n/g", 3, &[]) });
    join(&mut g, "n/g", "p", 3);
    g.placed("p1", "x", at(0));
    g.placed("p2", "y", at(5));
    assert_eq!(g.failed("p3"), []);
    assert_eq!(g.next_expiry(), Some(at(10)));
    assert_eq!(g.expire(at(9)), []);
    assert_eq!(list(&g.expire(at(10))), "p1@x");
    assert_eq!(told(g.placed("p3", "z", at(11))), "wait until 21");
    assert_eq!(told(g.placed("p1", "x", at(12))), "go p1@x p2@y p3@z");
}

#[test]
fn a_strict_gang_that_has_waited_too_long_gives_everything_back() {
    let mut g = Gangs::default();
    g.declare(words("n/g", 3, &[]));
    join(&mut g, "n/g", "p", 3);
    g.placed("p1", "x", at(0));
    g.placed("p2", "y", at(9));
    assert_eq!(list(&g.expire(at(10))), "p1@x p2@y");
    assert_eq!((g.expire(at(99)), g.next_expiry()), (vec![], None));
}

#[test]
fn who_was_to_be_bound_and_was_not_follows_alone() {
    for counts in [Match::OnceSatisfied, Match::OnlyWaiting, Match::WaitingAndRunning] {
        let mut g = Gangs::default();
        g.declare(api_koord::gang::GangWords { counts, ..words("n/g", 2, &[]) });
        join(&mut g, "n/g", "p", 2);
        g.placed("p1", "x", at(0));
        assert_eq!(told(g.placed("p2", "y", at(0))), "go p1@x p2@y");
        g.bound("p1");
        assert_eq!(list(&g.bind_failed("p2").into_iter().collect::<Vec<_>>()), "p2@y");
        assert_eq!(g.ready("p2"), Ok(()));
        assert_eq!(told(g.placed("p2", "z", at(1))), "go p2@z", "{counts:?}");
    }
}

#[test]
fn policies_differ_in_who_counts_after_the_start() {
    let follower = |counts: Match| {
        let mut g = Gangs::default();
        g.declare(api_koord::gang::GangWords { counts, ..words("n/g", 2, &[]) });
        join(&mut g, "n/g", "p", 3);
        for uid in ["p1", "p2"] {
            g.placed(uid, "x", at(0));
            g.bound(uid);
        }
        told(g.placed("p3", "x", at(0)))
    };
    assert_eq!(follower(Match::OnceSatisfied), "go p3@x");
    assert_eq!(follower(Match::WaitingAndRunning), "go p3@x");
    assert_eq!(follower(Match::OnlyWaiting), "wait until 10", "it asks for a whole new minimum");
}

#[test]
fn after_a_crash_what_is_bound_counts_so_that_the_rest_can_follow() {
    for counts in [Match::OnceSatisfied, Match::OnlyWaiting, Match::WaitingAndRunning] {
        let mut g = Gangs::default();
        g.declare(api_koord::gang::GangWords { counts, ..words("n/g", 3, &[]) });
        join(&mut g, "n/g", "p", 3);
        g.set_member("p1", "n/p1", None, "n/g", at(1), true);
        let first = told(g.placed("p2", "x", at(0)));
        let second = told(g.placed("p3", "x", at(0)));
        let expected = if counts == Match::OnceSatisfied {
            ("go p2@x", "go p3@x")
        } else {
            ("wait until 10", "go p2@x p3@x")
        };
        assert_eq!((first.as_str(), second.as_str()), expected);
    }
}

#[test]
fn a_member_that_is_deleted_gives_its_place_back_and_its_gang_is_forgotten_with_the_last() {
    let mut g = Gangs::default();
    join(&mut g, "n/g", "p", 1);
    g.set_member("p1", "n/p1", Some(words("n/g", 1, &[])), "n/g", at(1), false);
    g.placed("p1", "x", at(0));
    assert_eq!(
        list(&g.remove_member("p1").into_iter().collect::<Vec<_>>()),
        "p1@x",
        "while it is being bound too"
    );
    assert_eq!((g.has_started("n/g"), g.names().count()), (false, 0));
    assert_eq!(g, Gangs::default());
}

#[test]
fn a_pod_that_goes_to_another_gang_gives_its_place_back() {
    let mut g = Gangs::default();
    g.declare(words("n/g", 2, &[]));
    join(&mut g, "n/g", "p", 2);
    g.placed("p1", "x", at(0));
    let place = g.set_member("p1", "n/p1", None, "n/other", at(1), false);
    assert_eq!(list(&place.into_iter().collect::<Vec<_>>()), "p1@x");
    assert_eq!((g.turn("n/g").len(), g.turn("n/other").len()), (1, 1));
}

#[test]
fn the_status_of_a_pod_group_goes_through_koordinator_s_phases() {
    let mut g = Gangs::default();
    g.declare(words("n/g", 2, &[]));
    let mut status = PodGroupStatus::default();
    let mut phases = Vec::new();
    let mut step = |g: &Gangs, counts: (i32, i32, i32)| {
        status = g.status("n/g", &status, counts, "n/job", at(7));
        phases.push(format!("{} {}", status.phase, status.scheduled));
    };
    step(&g, (0, 0, 0));
    step(&g, (0, 0, 0));
    join(&mut g, "n/g", "p", 2);
    step(&g, (0, 0, 0));
    step(&g, (0, 0, 0));
    for uid in ["p1", "p2"] {
        g.placed(uid, "x", at(0));
        g.bound(uid);
    }
    step(&g, (0, 0, 0));
    step(&g, (2, 0, 0));
    step(&g, (1, 0, 1));
    step(&g, (0, 2, 0));
    assert_eq!(
        phases,
        [
            "Pending 0",
            "Pending 0",
            "PreScheduling 0",
            "Scheduling 0",
            "Scheduled 2",
            "Running 2",
            "Failed 2",
            "Finished 2"
        ]
    );
    assert_eq!((status.occupied_by.as_str(), status.schedule_start_time), ("n/job", Some(at(7))));
}
