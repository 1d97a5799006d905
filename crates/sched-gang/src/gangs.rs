//! The state of every gang and its changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api_koord::gang::{GangWords, Match, Mode};
use stdx::Time;

/// How far a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Without a place.
    Pending,
    /// Has a place, and waits for the others until then.
    Holding {
        /// The node.
        node: Arc<str>,
        /// When the place is given back.
        until: Time,
    },
    /// May be bound, and is being.
    Binding {
        /// The node.
        node: Arc<str>,
    },
    /// Is bound.
    Bound,
}

/// A pod of a gang.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// `namespace/name` of the pod.
    pub name: String,
    /// `namespace/name` of its gang.
    pub gang: String,
    /// When the pod was made: the order in which members are tried.
    pub created: Time,
    /// What the pod says about its gang; counts while the gang has no object, and of several the oldest member's.
    pub words: Option<GangWords>,
    /// How far it is.
    pub state: State,
    /// It was to be bound and was not: its gang has started, so it follows alone.
    pub is_released: bool,
}

/// A place on a node: to bind, or to give back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The pod.
    pub uid: Arc<str>,
    /// The node.
    pub node: Arc<str>,
}

/// What becomes of a member that has found a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permit {
    /// It holds the place and waits.
    Wait {
        /// When the place is given back.
        until: Time,
    },
    /// All of these are to be bound now, this one among them. In order of gang and age.
    Go(Vec<Place>),
}

/// Every gang of a cluster.
///
/// Different from upstream, so that nothing waits for ever: a member that was to be bound and was not follows alone, whatever
/// its gang's policy; and a gang under `only-waiting` of which fewer than the minimum are bound (a scheduler died while binding) may
/// fill up to the minimum instead of waiting for a whole new one. A group always contains the gang that names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gangs {
    /// Gangs with an object.
    declared: BTreeMap<String, GangWords>,
    pub(crate) members: BTreeMap<Arc<str>, Member>,
    /// Members of each gang.
    of: BTreeMap<String, BTreeSet<Arc<str>>>,
    /// Gangs that have started once; forgotten with their last member.
    started: BTreeSet<String>,
}

impl Gangs {
    /// A gang's object is there, or has changed.
    pub fn declare(&mut self, words: GangWords) {
        self.declared.insert(words.name.clone(), words);
    }

    /// A gang's object is gone. What its pods say counts again.
    pub fn withdraw(&mut self, name: &str) {
        self.declared.remove(name);
    }

    /// What a gang says: its object, or its oldest member.
    pub fn words(&self, name: &str) -> Option<&GangWords> {
        let by_pods = || {
            let members =
                self.members_of(name).filter_map(|(uid, m)| Some(((m.created, uid), m.words.as_ref()?)));
            members.min_by_key(|(age, _)| *age).map(|(_, words)| words)
        };
        self.declared.get(name).or_else(by_pods)
    }

    /// Names of gangs that are known by an object or a member, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let all: BTreeSet<&str> = self.declared.keys().chain(self.of.keys()).map(String::as_str).collect();
        all.into_iter()
    }

    /// Whether a gang is known by an object or a member.
    pub fn knows(&self, name: &str) -> bool {
        self.declared.contains_key(name) || self.of.contains_key(name)
    }

    /// How many members a gang has.
    pub fn size(&self, name: &str) -> usize {
        self.of.get(name).map_or(0, BTreeSet::len)
    }

    /// The gang of a pod; none when it is no member.
    pub fn gang_of(&self, uid: &str) -> Option<&str> {
        self.members.get(uid).map(|m| m.gang.as_str())
    }

    /// How far a member is; nothing when it is none.
    pub fn state_of(&self, uid: &str) -> Option<&State> {
        self.members.get(uid).map(|m| &m.state)
    }

    /// Members that hold a place, by identity, with its node.
    pub fn holding(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        self.members.iter().filter_map(|(uid, m)| match &m.state {
            State::Holding { node, .. } => Some((uid, node)),
            _ => None,
        })
    }

    /// Members of a gang by identity.
    pub fn members_of(&self, name: &str) -> impl Iterator<Item = (&Arc<str>, &Member)> {
        self.of.get(name).into_iter().flatten().map(|uid| (uid, &self.members[uid]))
    }

    /// Gangs that start together with this one, itself among them, in order.
    pub fn group_of(&self, name: &str) -> Vec<String> {
        let mut group = self.words(name).map(|w| w.together.clone()).unwrap_or_default();
        if !group.iter().any(|g| g == name) {
            group.push(name.to_owned());
            group.sort();
        }
        group
    }

    /// Whether a gang has started before.
    pub fn has_started(&self, name: &str) -> bool {
        self.started.contains(name)
    }

    /// A pod is there, or has changed; `is_bound` when it has a node. A place that it holds stays, unless it is in another gang now:
    /// then that is returned, to be given back. A pod seen bound means that its gang has started.
    pub fn set_member(
        &mut self,
        uid: impl Into<Arc<str>>,
        name: &str,
        words: Option<GangWords>,
        gang: &str,
        created: Time,
        is_bound: bool,
    ) -> Option<Place> {
        let uid = uid.into();
        let is_elsewhere = self.members.get(&uid).is_some_and(|old| old.gang != gang);
        let place = if is_elsewhere { self.remove_member(&uid) } else { None };
        let kept = self.members.remove(&uid);
        let is_released = kept.as_ref().is_some_and(|k| k.is_released);
        let state = if is_bound { State::Bound } else { kept.map_or(State::Pending, |k| k.state) };
        if is_bound {
            self.started.insert(gang.to_owned());
        }
        self.of.entry(gang.to_owned()).or_default().insert(uid.clone());
        let (name, gang) = (name.to_owned(), gang.to_owned());
        self.members.insert(uid, Member { name, gang, created, words, state, is_released });
        place
    }

    /// A pod is gone. The place it held, to be given back.
    pub fn remove_member(&mut self, uid: &str) -> Option<Place> {
        let (uid, member) = self.members.remove_entry(uid)?;
        self.leave(&uid, &member.gang);
        if !self.of.contains_key(&member.gang) {
            self.started.remove(&member.gang);
        }
        match member.state {
            State::Holding { node, .. } | State::Binding { node } => Some(Place { uid, node }),
            State::Pending | State::Bound => None,
        }
    }

    fn leave(&mut self, uid: &Arc<str>, gang: &str) {
        if let Some(members) = self.of.get_mut(gang) {
            members.remove(uid);
            if members.is_empty() {
                self.of.remove(gang);
            }
        }
    }

    /// Pods without a place that are to be tried one right after the other, so that nobody comes between: all of the group, gang by
    /// gang, the oldest first.
    pub fn turn(&self, name: &str) -> Vec<Arc<str>> {
        let mut out = Vec::new();
        for gang in self.group_of(name) {
            let pending = self.members_of(&gang).filter(|(_, m)| m.state == State::Pending);
            let mut pending: Vec<(Time, &Arc<str>)> = pending.map(|(uid, m)| (m.created, uid)).collect();
            pending.sort();
            out.extend(pending.into_iter().map(|(_, uid)| uid.clone()));
        }
        out
    }

    /// A member has found a node. `None`: it is no member, or has a place already; nothing changes.
    pub fn placed(&mut self, uid: &str, node: &str, now: Time) -> Option<Permit> {
        let member = self.members.get(uid).filter(|m| m.state == State::Pending)?;
        let (gang, follows_alone) = (member.gang.clone(), member.is_released);
        let until = now + self.words(&gang).map(|w| w.wait).unwrap_or_default();
        let node: Arc<str> = node.into();
        let (uid, _) = self.members.get_key_value(uid)?;
        let uid = uid.clone();
        if follows_alone {
            self.set_state(&uid, State::Binding { node: node.clone() });
            return Some(Permit::Go(vec![Place { uid, node }]));
        }
        self.set_state(&uid, State::Holding { node, until });
        let group = self.group_of(&gang);
        if group.iter().all(|g| self.is_complete(g)) {
            return Some(Permit::Go(self.release(&group)));
        }
        Some(Permit::Wait { until })
    }

    /// Whether enough members of a gang have a place, by its policy.
    pub fn is_complete(&self, name: &str) -> bool {
        let Some(words) = self.words(name) else { return false };
        let count = |of: fn(&State) -> bool| self.members_of(name).filter(|(_, m)| of(&m.state)).count();
        let waiting = count(|s| matches!(s, State::Holding { .. } | State::Binding { .. }));
        let bound = count(|s| *s == State::Bound);
        let min = usize::try_from(words.min).unwrap_or(usize::MAX);
        match words.counts {
            Match::OnceSatisfied => waiting >= min || self.has_started(name),
            Match::WaitingAndRunning => waiting + bound >= min,
            Match::OnlyWaiting => waiting >= min || (bound > 0 && bound < min && waiting + bound >= min),
        }
    }

    /// Everybody of the group who holds a place may be bound.
    fn release(&mut self, group: &[String]) -> Vec<Place> {
        let mut out = Vec::new();
        for gang in group {
            let mut places = self.held(gang);
            places.sort_by_key(|p| (self.members[&p.uid].created, p.uid.clone()));
            for place in &places {
                self.set_state(&place.uid, State::Binding { node: place.node.clone() });
            }
            if !places.is_empty() {
                self.started.insert(gang.clone());
            }
            out.extend(places);
        }
        out
    }

    fn held(&self, gang: &str) -> Vec<Place> {
        let place = |(uid, m): (&Arc<str>, &Member)| match &m.state {
            State::Holding { node, .. } => Some(Place { uid: uid.clone(), node: node.clone() }),
            _ => None,
        };
        self.members_of(gang).filter_map(place).collect()
    }

    fn set_state(&mut self, uid: &str, state: State) {
        if let Some(member) = self.members.get_mut(uid) {
            member.state = state;
        }
    }

    /// A member has found no node. The places that are to be given back: under `Strict` all of the group, unless the gang has started
    /// and need not be complete again; under `NonStrict` none.
    pub fn failed(&mut self, uid: &str) -> Vec<Place> {
        let Some(gang) = self.members.get(uid).map(|m| m.gang.clone()) else { return Vec::new() };
        if self.falls_together(&gang) { self.give_back(&gang) } else { Vec::new() }
    }

    /// The place of a member is there no more: its node went, or whoever kept it gave it up. The places that are to be given back, its
    /// own among them: as after a failure. Nothing when it holds none.
    pub fn lost(&mut self, uid: &str) -> Vec<Place> {
        let Some((uid, member)) = self.members.get_key_value(uid) else { return Vec::new() };
        let State::Holding { node, .. } = member.state.clone() else { return Vec::new() };
        let (uid, gang) = (uid.clone(), member.gang.clone());
        if self.falls_together(&gang) {
            return self.give_back(&gang);
        }
        self.set_state(&uid, State::Pending);
        vec![Place { uid, node }]
    }

    /// Whether one member's failure is everybody's: so under `Strict`, until the gang has started and may be followed.
    pub fn falls_together(&self, gang: &str) -> bool {
        let Some(words) = self.words(gang) else { return true };
        let may_follow = words.counts == Match::OnceSatisfied && self.has_started(gang);
        words.mode == Mode::Strict && !may_follow
    }

    fn give_back(&mut self, gang: &str) -> Vec<Place> {
        let mut out: Vec<Place> = self.group_of(gang).iter().flat_map(|g| self.held(g)).collect();
        out.sort();
        out.iter().for_each(|place| self.set_state(&place.uid, State::Pending));
        out
    }

    /// Time has passed. The places of all who have waited too long, with those of their groups under `Strict`.
    pub fn expire(&mut self, now: Time) -> Vec<Place> {
        let is_late = |m: &Member| matches!(m.state, State::Holding { until, .. } if until <= now);
        let late: Vec<Arc<str>> =
            self.members.iter().filter(|(_, m)| is_late(m)).map(|(uid, _)| uid.clone()).collect();
        let mut out = Vec::new();
        for uid in late {
            let State::Holding { node, .. } = self.members[&uid].state.clone() else { continue };
            let gang = self.members[&uid].gang.clone();
            if self.falls_together(&gang) {
                out.extend(self.give_back(&gang));
            } else {
                self.set_state(&uid, State::Pending);
                out.push(Place { uid, node });
            }
        }
        out.sort();
        out
    }

    /// When a place is next to be given back.
    pub fn next_expiry(&self) -> Option<Time> {
        let until = |m: &Member| if let State::Holding { until, .. } = m.state { Some(until) } else { None };
        self.members.values().filter_map(until).min()
    }

    /// A member is bound.
    pub fn bound(&mut self, uid: &str) {
        if let Some(gang) = self.members.get(uid).map(|m| m.gang.clone()) {
            self.started.insert(gang);
            self.set_state(uid, State::Bound);
        }
    }

    /// A member that was to be bound was not. The place, to be given back: it is tried again and follows alone, for its gang has
    /// started.
    pub fn bind_failed(&mut self, uid: &str) -> Option<Place> {
        let (uid, member) = self.members.get_key_value(uid)?;
        let State::Binding { node } = member.state.clone() else { return None };
        let uid = uid.clone();
        if let Some(member) = self.members.get_mut(&uid) {
            member.is_released = true;
            member.state = State::Pending;
        }
        Some(Place { uid, node })
    }
}
