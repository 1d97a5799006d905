//! The page is whole, self-contained, and says what the chronicle says.

use super::series::{State, bars, lanes, seconds, versions};
use super::{Conditions, html};
use crate::facts::{Mark, SECOND};
use crate::judge::{Rules, judge};
use crate::steps::{CELLS, SHOP, STOCK, StepId, UNDRAINED};
use crate::testing::Tale;

fn told() -> Tale {
    let control = |app: &'static str| {
        move |t: &mut Tale| {
            for _ in 0..5 {
                t.later(SECOND);
                t.traffic(SHOP, "v2");
                t.traffic(app, "v2");
                t.failure(app, 20_000, "127.9.64.30:8080");
            }
        }
    };
    let tale = Tale::new("v1").step(StepId::Release, |t| t.release("v2"));
    tale.step(StepId::Undrained, control(UNDRAINED)).step(StepId::Stock, control(STOCK))
}

fn page(tale: &Tale) -> String {
    let steps = vec![StepId::Release, StepId::Undrained, StepId::Stock];
    let verdicts: Vec<_> =
        steps.iter().map(|s| judge(*s, &tale.seen, &Rules::of_the_story(&CELLS))).collect();
    let conditions = Conditions {
        version: "0.0.0".into(),
        ended: 90 * SECOND,
        cpus: 2,
        rate: 2000.0,
        nodes: 1000,
        steps,
        ..Conditions::default()
    };
    html(&tale.seen, &verdicts, &["<odd> & loose".to_owned()], &conditions)
}

#[test]
fn the_page_needs_nothing_from_elsewhere_and_runs_nothing() {
    let html = page(&told());
    for foreign in ["http://", "https://", "<script", "<img", "<link", "@import", "url("] {
        assert!(!html.contains(foreign), "{foreign} in the page");
    }
    assert!(html.contains("prefers-color-scheme:dark") && html.contains("width=device-width"));
    assert!(html.contains("&lt;odd&gt; &amp; loose"));
    for tag in ["svg", "section", "table", "div", "text"] {
        let opened = html.matches(&format!("<{tag}>")).count() + html.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, html.matches(&format!("</{tag}>")).count(), "{tag} is closed as often as opened");
    }
}

#[test]
fn the_controls_stand_beside_the_release_with_their_failures() {
    let html = page(&told());
    assert!(html.contains("with draining: 0 failed"));
    assert!(html.contains("draining off: 5 failed"));
    assert!(html.contains("stock Deployment: 5 failed"));
}

#[test]
fn a_second_has_all_that_was_due_in_it() {
    let tale = told();
    let begin = tale.seen.span(StepId::Stock).unwrap().begin;
    let all = seconds(&tale.seen, STOCK, begin, tale.seen.bounds().1);
    let sums = all.iter().fold((0, 0), |(ok, failed), s| (ok + s.ok, failed + s.failed));
    assert_eq!(sums, (10_000, 5));
    let whole = seconds(&tale.seen, SHOP, 0, tale.seen.bounds().1);
    assert_eq!(versions(&whole), ["v2"]);
}

#[test]
fn a_pods_lane_tells_gate_drain_and_return() {
    let tale = told();
    let lanes = lanes(&tale.seen, SHOP);
    assert_eq!(lanes.len(), 12);
    let states: Vec<(&State, &str)> =
        lanes[0].stretches.iter().map(|s| (&s.state, s.version.as_str())).collect();
    let expected = [
        (&State::Serving, "v1"),
        (&State::Draining, "v1"),
        (&State::Out, "v1"),
        (&State::Out, "v2"),
        (&State::Serving, "v2"),
    ];
    assert_eq!(states, expected);
    assert!(lanes[0].stretches.windows(2).all(|w| w[0].to == w[1].from), "a life has no gaps");
}

#[test]
fn groups_are_on_their_way_from_begin_to_end_one_after_the_other() {
    let bars = bars(&told().seen, SHOP);
    assert_eq!(bars.iter().map(|b| b.label.as_str()).collect::<Vec<_>>(), ["β", "1", "2", "3"]);
    assert!(bars.windows(2).all(|w| w[0].to <= w[1].from));
}

#[test]
fn an_empty_chronicle_makes_a_page_too() {
    let html = html(&crate::facts::Chronicle::default(), &[], &[], &Conditions::default());
    assert!(html.contains("</html>"));
    let mut cut = Tale::new("v1");
    cut.mark(Mark::Begin(StepId::Release));
    assert!(page(&cut).contains("did not hold"), "a step cut off is told as such");
}
