//! Good steps hold; each way to spoil one is noticed, and named.

use super::{Rules, judge, unclaimed};
use crate::facts::{Fact, Mark, Phase, SECOND};
use crate::steps::{CELLS, DOOMED, SHOP, STOCK, StepId};
use crate::testing::{GROUPS, Tale};

fn complaints(step: StepId, tale: &Tale) -> Vec<String> {
    judge(step, &tale.seen, &Rules::of_the_story(&CELLS)).complaints
}

/// The one thing that is wrong.
#[track_caller]
fn spoiled(step: StepId, tale: &Tale, expected: &str) {
    let found = complaints(step, tale);
    assert!(found.iter().any(|c| c.contains(expected)), "expected {expected:?} among {found:#?}");
}

fn release(tell: impl FnOnce(&mut Tale)) -> Tale {
    Tale::new("v1").step(StepId::Release, tell)
}

#[test]
fn a_release_in_place_and_in_order_without_a_failure_holds() {
    let tale = release(|t| t.release("v2"));
    let verdict = judge(StepId::Release, &tale.seen, &Rules::of_the_story(&CELLS));
    assert_eq!(verdict.complaints, Vec::<String>::new());
    assert_eq!((verdict.requests, verdict.failed), (8000, 0));
    expect_test::expect![[r#"
        [
            "12 pods updated in place: same UIDs and addresses, new processes",
            "groups: beta 1+1, group-1 2+2, group-2 2+2, group-3 1+1",
        ]
    "#]]
    .assert_debug_eq(&verdict.remarks);
}

#[test]
fn a_step_that_was_never_begun_or_carried_no_traffic_proves_nothing() {
    spoiled(StepId::Release, &Tale::new("v1"), "never begun");
    let silent = release(|t| {
        t.release("v2");
        t.seen = t.seen.entries().iter().filter(|e| !matches!(e.fact, Fact::Load(..))).fold(
            Default::default(),
            |mut seen: crate::facts::Chronicle, e| {
                seen.push(e.at, e.fact.clone());
                seen
            },
        );
    });
    spoiled(StepId::Release, &silent, "no requests were sent");
}

#[test]
fn a_single_failed_request_is_enough() {
    let tale = release(|t| {
        t.release("v2");
        t.failure(SHOP, 20_000, "127.9.64.1:8080");
    });
    spoiled(StepId::Release, &tale, "1 × refused 502 by 127.9.64.1:8080: reset");
}

#[test]
fn a_request_due_in_a_step_counts_there_though_it_failed_after_it() {
    let mut tale = release(|t| t.release("v2"));
    tale.later(2 * SECOND);
    tale.failure(SHOP, 2 * SECOND + 10, "");
    spoiled(StepId::Release, &tale, "requests failed");
    assert_eq!(unclaimed(&tale.seen, &[StepId::Release]), Vec::<String>::new());
    tale.later(SECOND);
    tale.failure(SHOP, 10, "");
    assert_eq!(unclaimed(&tale.seen, &[StepId::Release]).len(), 1, "between two steps is no hiding place");
}

#[test]
fn a_pod_that_moves_or_is_made_anew_is_not_updated_in_place() {
    let moved = release(|t| {
        t.release("v2");
        t.change(3, |p| p.ip = "127.9.64.99".into());
    });
    spoiled(StepId::Release, &moved, "its address moved");
    let anew = release(|t| {
        t.release("v2");
        t.fact(Fact::PodGone("u3".into()));
        t.change(3, |p| p.uid = "other".into());
    });
    spoiled(StepId::Release, &anew, "its pod is gone");
    spoiled(StepId::Release, &anew, "it is a new pod");
}

#[test]
fn a_pod_that_was_forgotten_or_replaced_twice_is_named() {
    let forgotten = release(|t| (0..3).for_each(|g| t.group(g, "v2")));
    spoiled(StepId::Release, &forgotten, "shop-11 and 1 more: it is at v1, not at v2");
    let twice = release(|t| {
        t.release("v2");
        t.change(4, |p| p.container = "again".into());
    });
    spoiled(StepId::Release, &twice, "shop-4: its process was replaced 2 times");
}

#[test]
fn a_cell_below_its_minimum_is_seen_at_the_very_event() {
    let tale = release(|t| {
        t.release("v2");
        [0, 1, 2].iter().for_each(|i| t.drain(*i));
        [0, 1, 2].iter().for_each(|i| t.change(*i, |p| (p.ready, p.gate) = (true, Some(true))));
    });
    spoiled(StepId::Release, &tale, "CellA had 3 pods in service; its minimum is 4");
}

#[test]
fn a_terminating_pod_does_not_count_as_in_service() {
    let tale = release(|t| {
        t.release("v2");
        [0, 1, 2].iter().for_each(|i| t.change(*i, |p| p.deleting = true));
    });
    spoiled(StepId::Release, &tale, "CellA had 3 pods in service");
}

#[test]
fn a_group_that_nobody_confirmed_or_that_overtakes_is_named() {
    let unconfirmed = release(|t| {
        t.group(0, "v2");
        t.cafe("v2", 1, Phase::RollingOut);
        t.drain(GROUPS[1][0]);
    });
    spoiled(StepId::Release, &unconfirmed, "shop-1 left service in group 1, which nobody had confirmed");
    let overtaking = release(|t| {
        t.cafe("v2", 0, Phase::RollingOut);
        GROUPS[0].iter().for_each(|i| t.drain(*i));
        t.update(0, "v2");
        t.mark(Mark::Confirmed(SHOP.into()));
        t.drain(GROUPS[1][0]);
    });
    spoiled(StepId::Release, &overtaking, "shop-1 left service in group 1 before shop-6 was back");
}

fn broken(stop_after: i64, tell: impl FnOnce(&mut Tale)) -> Tale {
    Tale::new("v2").step(StepId::Broken, |t| {
        t.cafe("v3-broken", 0, Phase::RollingOut);
        GROUPS[0].iter().for_each(|i| t.drain(*i));
        for i in GROUPS[0] {
            t.change(*i, |p| p.image = "knarr.dev/shop:v3-broken".into());
            t.change(*i, |p| p.broken = "exited with code 1".into());
        }
        t.later(stop_after);
        t.traffic(SHOP, "v2");
        t.say(|c| (c.phase, c.failed) = (Phase::RollingBack, "container shop exits with code 1".into()));
        for i in GROUPS[0] {
            t.change(*i, |p| p.broken = String::new());
            t.update(*i, "v2");
        }
        tell(t);
    })
}

#[test]
fn a_broken_release_that_stops_says_why_and_is_undone_holds() {
    let tale = broken(2 * SECOND, |_| {});
    assert_eq!(complaints(StepId::Broken, &tale), Vec::<String>::new());
    let verdict = judge(StepId::Broken, &tale.seen, &Rules::of_the_story(&CELLS));
    expect_test::expect![[r#"
        [
            "shop-0: exited with code 1",
            "stopped 2.0 s after the first failure: container shop exits with code 1",
            "2 pods were touched",
        ]
    "#]]
    .assert_debug_eq(&verdict.remarks);
}

#[test]
fn a_broken_release_must_stop_in_time_with_a_reason_and_touch_two_pods_at_most() {
    spoiled(StepId::Broken, &broken(11 * SECOND, |_| {}), "stopped 11.0 s after the first failure");
    let third = broken(SECOND, |t| t.change(4, |p| p.image = "knarr.dev/shop:v3-broken".into()));
    spoiled(StepId::Broken, &third, "3 pods were touched; 2 are allowed");
    spoiled(StepId::Broken, &third, "shop-4: it is at v3-broken, not at v2");
    let silent = Tale::new("v2").step(StepId::Broken, |t| {
        t.cafe("v3-broken", 0, Phase::RollingOut);
        t.change(0, |p| p.image = "knarr.dev/shop:v3-broken".into());
        t.change(0, |p| p.broken = "CrashLoopBackOff".into());
        t.say(|c| c.phase = Phase::Held);
    });
    spoiled(StepId::Broken, &silent, "does not say why it stopped");
    let never = Tale::new("v2").step(StepId::Broken, |t| t.cafe("v3-broken", 0, Phase::RollingOut));
    spoiled(StepId::Broken, &never, "no pod of the broken version was ever seen to fail");
}

fn plane_kill(resume: impl FnOnce(&mut Tale)) -> Tale {
    Tale::new("v2").step(StepId::PlaneKill, |t| {
        t.group(0, "v3");
        t.mark(Mark::Confirmed(SHOP.into()));
        t.cafe("v3", 1, Phase::RollingOut);
        t.drain(1);
        t.drain(7);
        t.mark(Mark::PlaneKilled);
        for _ in 0..3 {
            t.later(SECOND);
            t.traffic(SHOP, "v2");
        }
        t.mark(Mark::PlaneBack);
        t.later(1);
        resume(t);
    })
}

#[test]
fn a_release_that_goes_on_where_it_was_killed_holds() {
    let tale = plane_kill(|t| {
        t.update(1, "v3");
        t.update(7, "v3");
        [2, 8].iter().for_each(|i| t.drain(*i));
        [2, 8].iter().for_each(|i| t.update(*i, "v3"));
        t.group(2, "v3");
        t.group(3, "v3");
    });
    let verdict = judge(StepId::PlaneKill, &tale.seen, &Rules::of_the_story(&CELLS));
    assert_eq!(verdict.complaints, Vec::<String>::new());
    assert!(
        verdict.remarks.contains(&"6000 answers in the 3.0 s without it".to_owned()),
        "{:?}",
        verdict.remarks
    );
    assert!(verdict.remarks.contains(&"resumed at shop-1".to_owned()), "{:?}", verdict.remarks);
}

#[test]
fn a_release_that_begins_elsewhere_or_anew_after_a_kill_is_named() {
    let elsewhere = plane_kill(|t| {
        t.drain(2);
        t.update(2, "v3");
    });
    spoiled(StepId::PlaneKill, &elsewhere, "shop-2 moved first; it was not on its way at the kill");
    let anew = plane_kill(|t| {
        t.update(1, "v3");
        t.change(0, |p| p.container = "twice".into());
    });
    spoiled(StepId::PlaneKill, &anew, "shop-0: its process was replaced 2 times");
    let unhurt = Tale::new("v2").step(StepId::PlaneKill, |t| t.release("v3"));
    spoiled(StepId::PlaneKill, &unhurt, "was not killed");
}

fn cell_death(tell: impl FnOnce(&mut Tale)) -> Tale {
    Tale::new("v3").step(StepId::CellDeath, |t| {
        t.group(0, "v4");
        t.later(SECOND);
        let addresses = (7..=12).map(|i| format!("127.9.64.{i}")).collect();
        let until = t.now + 5_000;
        t.mark(Mark::CellKilled { cell: DOOMED.into(), until, processes: 13, addresses });
        t.later(10_000);
        (6..12).for_each(|i| t.change(i, |p| p.ready = false));
        t.say(|c| c.cells[1].lost = true);
        tell(t);
    })
}

fn finish(t: &mut Tale) {
    for pair in [[1, 2], [3, 4]] {
        pair.iter().for_each(|i| t.drain(*i));
        pair.iter().for_each(|i| t.update(*i, "v4"));
    }
    t.drain(5);
    t.update(5, "v4");
}

#[test]
fn only_requests_open_in_the_dead_cell_at_the_kill_are_excused() {
    let tale = cell_death(|t| {
        t.failure(SHOP, 20_000, "127.9.64.7:8080");
        finish(t);
    });
    let verdict = judge(StepId::CellDeath, &tale.seen, &Rules::of_the_story(&CELLS));
    assert_eq!(verdict.complaints, Vec::<String>::new());
    assert_eq!((verdict.failed, verdict.excused, verdict.charged()), (1, 1, 0));
    let other_cell = cell_death(|t| {
        t.failure(SHOP, 20_000, "127.9.64.1:8080");
        finish(t);
    });
    spoiled(StepId::CellDeath, &other_cell, "were not open in CellB at the kill");
    let later = cell_death(|t| {
        t.later(SECOND);
        t.failure(SHOP, 20_000, "127.9.64.7:8080");
        finish(t);
    });
    spoiled(StepId::CellDeath, &later, "were not open in CellB at the kill");
}

#[test]
fn the_cell_that_is_left_keeps_its_minimum_and_finishes() {
    let starved = cell_death(|t| {
        finish(t);
        (0..3).for_each(|i| t.drain(i));
    });
    spoiled(StepId::CellDeath, &starved, "CellA had 3 pods in service; its minimum is 4");
    spoiled(StepId::CellDeath, &cell_death(|_| {}), "did not finish in the cells that are left");
    let slow = cell_death(|t| {
        t.later(60 * SECOND);
        finish(t);
    });
    spoiled(StepId::CellDeath, &slow, "the others finished only 61");
}

#[test]
fn a_control_without_failures_does_not_hold() {
    let stock = |fails: bool| {
        Tale::new("v1").step(StepId::Stock, |t| {
            t.later(SECOND);
            t.traffic(STOCK, "v2");
            if fails {
                t.failure(STOCK, 20_000, "127.9.64.30:8080");
            }
        })
    };
    assert_eq!(complaints(StepId::Stock, &stock(true)), Vec::<String>::new());
    spoiled(StepId::Stock, &stock(false), "not shown to mean anything");
}

#[test]
fn a_roll_out_in_its_turns_holds_and_one_that_runs_ahead_does_not() {
    let roll_out = |ahead: bool| {
        let mut blank = Tale::new("v1");
        blank.seen = Default::default();
        blank.step(StepId::RollOut, |t| {
            for (g, pods) in GROUPS.iter().enumerate() {
                t.cafe("v1", g, Phase::RollingOut);
                if g > 0 && !ahead {
                    t.mark(Mark::Confirmed(SHOP.into()));
                }
                pods.iter().for_each(|i| t.change(*i, |_| {}));
            }
        })
    };
    assert_eq!(complaints(StepId::RollOut, &roll_out(false)), Vec::<String>::new());
    let mut unlucky = roll_out(false);
    unlucky.failure(SHOP, 1, "");
    spoiled(StepId::RollOut, &unlucky, "requests failed");
    spoiled(StepId::RollOut, &roll_out(true), "3 pods after 0 confirmations; the groups have 2");
}

#[test]
fn what_is_wrong_with_many_pods_alike_is_said_once() {
    let found = complaints(StepId::Release, &release(|t| (0..2).for_each(|g| t.group(g, "v2"))));
    expect_test::expect![[r#"
        [
            "shop-10 and 5 more: it still runs the process from before",
            "shop-10 and 5 more: it is at v1, not at v2",
        ]
    "#]]
    .assert_debug_eq(&found);
}
