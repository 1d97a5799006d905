//! What holds for every history of gangs.

use std::collections::{BTreeMap, BTreeSet};

use api_koord::gang::{GangWords, Match, Mode};
use proptest::prelude::*;
use sched_gang::{Gangs, Permit, Place, State};
use stdx::Time;

use crate::words;

const GANGS: usize = 3;
const PODS: usize = 8;

/// Something that happens.
#[derive(Clone, Debug)]
enum Step {
    Declare(Box<GangWords>),
    Withdraw(usize),
    Join(usize, usize, bool),
    Leave(usize),
    Place(usize),
    Fail(usize),
    Bound(usize),
    BindFailed(usize),
    Pass(i64),
}

fn gang(i: usize) -> String {
    format!("n/g{i}")
}

fn pod(i: usize) -> String {
    format!("p{i}")
}

/// The first two gangs may be a group, both ways; the third stands alone.
fn declaration() -> impl Strategy<Value = GangWords> {
    let counts =
        prop_oneof![Just(Match::OnceSatisfied), Just(Match::OnlyWaiting), Just(Match::WaitingAndRunning)];
    let mode = prop_oneof![2 => Just(Mode::Strict), 1 => Just(Mode::NonStrict)];
    (0..GANGS, 1u32..4, counts, mode).prop_map(|(i, min, counts, mode)| {
        let together: &[&str] = if i < 2 { &["n/g0", "n/g1"] } else { &[] };
        GangWords { counts, mode, ..words(&gang(i), min, together) }
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => declaration().prop_map(|w| Step::Declare(Box::new(w))),
        1 => (0..GANGS).prop_map(Step::Withdraw),
        5 => (0..PODS, 0..GANGS, proptest::bool::weighted(0.05)).prop_map(|(p, g, b)| Step::Join(p, g, b)),
        1 => (0..PODS).prop_map(Step::Leave),
        6 => (0..PODS).prop_map(Step::Place),
        1 => (0..PODS).prop_map(Step::Fail),
        3 => (0..PODS).prop_map(Step::Bound),
        1 => (0..PODS).prop_map(Step::BindFailed),
        2 => (0i64..6).prop_map(Step::Pass),
    ]
}

/// The gangs, and beside them a plain account of who has a place.
#[derive(Default)]
struct World {
    gangs: Gangs,
    now: i64,
    places: BTreeSet<String>,
}

impl World {
    fn take(&mut self, step: &Step) {
        match step {
            Step::Declare(words) => self.gangs.declare((**words).clone()),
            Step::Withdraw(i) => self.gangs.withdraw(&gang(*i)),
            Step::Join(p, g, bound) => self.join(*p, *g, *bound),
            Step::Leave(p) => {
                let place = self.gangs.remove_member(&pod(*p));
                self.returned(place);
            }
            Step::Place(p) => self.place(&pod(*p)),
            Step::Fail(p) => self.fail(&pod(*p)),
            Step::Bound(p) => {
                if matches!(self.state(&pod(*p)), Some(State::Binding { .. })) {
                    self.gangs.bound(&pod(*p));
                    assert!(self.places.remove(&pod(*p)), "who is bound had a place");
                }
            }
            Step::BindFailed(p) => {
                let place = self.gangs.bind_failed(&pod(*p));
                self.returned(place);
            }
            Step::Pass(secs) => self.pass(*secs),
        }
        let accounted: BTreeSet<String> = (0..PODS)
            .map(pod)
            .filter(|p| matches!(self.state(p), Some(State::Holding { .. } | State::Binding { .. })))
            .collect();
        assert_eq!(accounted, self.places, "every place is held, given back once, or bound");
    }

    fn state(&self, uid: &str) -> Option<State> {
        let all = (0..GANGS).map(gang).collect::<Vec<_>>();
        all.iter()
            .find_map(|g| self.gangs.members_of(g).find(|(u, _)| &***u == uid).map(|(_, m)| m.state.clone()))
    }

    fn returned(&mut self, places: impl IntoIterator<Item = Place>) {
        for place in places {
            assert!(self.places.remove(&*place.uid), "{} had a place to give back", place.uid);
        }
    }

    /// A pod keeps its gang for life; it may be seen bound by somebody else's hand.
    fn join(&mut self, p: usize, g: usize, bound: bool) {
        let uid = pod(p);
        let known = (0..GANGS).map(gang).find(|g| self.gangs.members_of(g).any(|(u, _)| **u == *uid));
        let gang = known.unwrap_or_else(|| gang(g));
        self.gangs.set_member(uid.as_str(), &uid, None, &gang, Time::from_secs(p as i64), bound);
        if bound {
            self.places.remove(&uid);
        }
    }

    fn place(&mut self, uid: &str) {
        let before = self.gangs.clone();
        if before.ready(uid).is_err() {
            return;
        }
        match self.gangs.placed(uid, "x", Time::from_secs(self.now)) {
            None => assert_eq!(before, self.gangs),
            Some(Permit::Wait { until }) => {
                assert_eq!(until, Time::from_secs(self.now + 10));
                assert!(self.places.insert(uid.to_owned()));
            }
            Some(Permit::Go(places)) => {
                self.places.insert(uid.to_owned());
                self.judge_start(&before, uid, &places);
            }
        }
    }

    /// Nobody is bound before every gang of the group is complete by its own policy, counted plainly.
    fn judge_start(&self, before: &Gangs, uid: &str, places: &[Place]) {
        assert!(places.iter().any(|p| &*p.uid == uid));
        let gang = (0..GANGS).map(gang).find(|g| before.members_of(g).any(|(u, _)| **u == *uid)).unwrap();
        let me = before.members_of(&gang).find(|(u, _)| &***u == uid).unwrap().1;
        if me.is_released {
            assert_eq!(places.len(), 1, "who follows alone takes nobody along");
            return;
        }
        for gang in before.group_of(&gang) {
            let words = before.words(&gang).unwrap();
            let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
            for (u, member) in before.members_of(&gang) {
                let key = match member.state {
                    _ if &**u == uid => "waiting",
                    State::Holding { .. } | State::Binding { .. } => "waiting",
                    State::Bound => "bound",
                    State::Pending => "pending",
                };
                *counts.entry(key).or_default() += 1;
            }
            let count = |key: &str| counts.get(key).copied().unwrap_or(0);
            let (waiting, bound) = (count("waiting"), count("bound"));
            let enough = match words.counts {
                Match::OnceSatisfied => waiting >= words.min || before.has_started(&gang),
                Match::WaitingAndRunning => waiting + bound >= words.min,
                Match::OnlyWaiting => {
                    waiting >= words.min || (bound < words.min && bound > 0 && waiting + bound >= words.min)
                }
            };
            assert!(enough, "{gang} is not complete: {counts:?} of {}", words.min);
            let left = self.gangs.members_of(&gang).any(|(_, m)| matches!(m.state, State::Holding { .. }));
            assert!(!left, "nobody is left holding when the group starts");
        }
    }

    fn fail(&mut self, uid: &str) {
        if self.state(uid) != Some(State::Pending) {
            return;
        }
        let before = self.gangs.clone();
        let places = self.gangs.failed(uid);
        self.returned(places);
        let gang = (0..GANGS).map(gang).find(|g| before.members_of(g).any(|(u, _)| **u == *uid)).unwrap();
        let words = before.words(&gang);
        let strict = words.is_none_or(|w| w.mode == Mode::Strict);
        let follows = words.is_some_and(|w| w.counts == Match::OnceSatisfied) && before.has_started(&gang);
        if strict && !follows {
            let holds =
                |g: &String| self.gangs.members_of(g).any(|(_, m)| matches!(m.state, State::Holding { .. }));
            assert!(!before.group_of(&gang).iter().any(holds), "all or nothing");
        }
    }

    fn pass(&mut self, secs: i64) {
        self.now += secs;
        let places = self.gangs.expire(Time::from_secs(self.now));
        self.returned(places);
        assert!(
            self.gangs.next_expiry().is_none_or(|t| t > Time::from_secs(self.now)),
            "nobody holds beyond its time"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nobody_is_bound_before_its_group_is_complete_and_no_place_is_lost(steps in proptest::collection::vec(step(), 1..60)) {
        let mut world = World::default();
        steps.iter().for_each(|step| world.take(step));
    }

    #[test]
    fn a_gang_whose_members_are_there_and_find_nodes_always_starts(steps in proptest::collection::vec(step(), 1..60)) {
        let mut world = World::default();
        steps.iter().for_each(|step| world.take(step));
        // The binder answers, everybody's time runs out, and then every pod finds a node in its turn.
        for p in 0..PODS {
            world.take(&Step::Bound(p));
        }
        world.take(&Step::Pass(10));
        for i in 0..GANGS {
            let Some(first) = world.gangs.turn(&gang(i)).first().cloned() else { continue };
            if world.gangs.ready(&first).is_err() {
                continue;
            }
            let turn = world.gangs.turn(&gang(i));
            let group = world.gangs.group_of(&gang(i));
            let can = |g: &String| {
                let words = world.gangs.words(g).unwrap();
                let pending = world.gangs.members_of(g).filter(|(_, m)| m.state == State::Pending && !m.is_released).count();
                let bound = world.gangs.members_of(g).filter(|(_, m)| m.state == State::Bound).count();
                // Under `only-waiting` a gang that has its minimum asks for another whole one: that is its policy.
                words.counts != Match::OnlyWaiting || pending >= words.min as usize || (bound > 0 && bound < words.min as usize)
            };
            let members = |g: &String| world.gangs.members_of(g).count() >= world.gangs.words(g).map_or(usize::MAX, |w| w.min as usize);
            let can_start = group.iter().all(|g| members(g) && can(g));
            // Who follows alone does not count for the others of an `only-waiting` gang.
            let loners = group.iter().any(|g| world.gangs.members_of(g).any(|(_, m)| m.is_released));
            for uid in &turn {
                world.place(uid);
            }
            if can_start && !loners {
                for uid in turn {
                    prop_assert!(matches!(world.state(&uid), Some(State::Binding { .. })), "{} of {:?} is stuck: {:?}", uid, group, world.gangs);
                }
            }
        }
    }
}
