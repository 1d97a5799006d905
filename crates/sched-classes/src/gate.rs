//! The gate of gangs: who of a group may be tried, who waits, and what a failure of one means for the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api_koord::gang::GangWords;
use api_schema::go_duration;
use sched_gang::{Gangs, Member, Permit as Turn, Place, State};
use stdx::Time;

use crate::classes::{Held, Order, Permit};

/// Gangs, with the order in which their members are tried.
///
/// A group that has fallen (a member of a strict gang found no node) is represented by that member: it alone is tried again, and
/// only when it has found a node are the others. So a gang that does not fit costs one look at a time and holds nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Gate {
    gangs: Gangs,
    /// Groups that have fallen, by their first gang.
    fallen: BTreeMap<String, Fallen>,
    /// Members that were refused because their group was not complete.
    short: BTreeSet<Arc<str>>,
    /// Before then nobody has waited too long; nothing: nobody waits.
    soonest: Option<Time>,
    orders: Vec<Order>,
}

/// A group that has fallen.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fallen {
    /// Who is tried for all.
    first: Arc<str>,
    /// What the others are told.
    why: Arc<str>,
}

/// What a member is told whose group waits for it no longer.
const TIMEOUT: &str = "rejected due to timeout after waiting";

impl Gate {
    /// A gang's object is there, or has changed.
    pub(crate) fn declare(&mut self, words: GangWords) {
        let name = words.name.clone();
        let was_mute = self.gangs.words(&name).is_none();
        self.gangs.declare(words);
        if was_mute {
            // What its members were told is true no more, whether they are enough or not.
            self.try_short(&name);
        } else {
            self.look_again(&name);
        }
    }

    /// A gang's object is gone.
    pub(crate) fn withdraw(&mut self, name: &str) {
        self.gangs.withdraw(name);
        // Its members' own words count now, and may ask for fewer.
        self.look_again(name);
    }

    /// A member is there, or has changed.
    pub(crate) fn set(
        &mut self,
        uid: &Arc<str>,
        name: &str,
        words: Option<&GangWords>,
        gang: &str,
        at: (Time, bool),
    ) {
        let (created, is_bound) = at;
        let before = self.gangs.gang_of(uid).map(str::to_owned);
        let place = self.gangs.set_member(uid.clone(), name, words.cloned(), gang, created, is_bound);
        let moved = "the pod is in another gang now".into();
        self.orders.extend(place.map(|p| Order::GiveBack(p.uid, Held::until_told(moved))));
        if is_bound {
            self.leave(uid, before.as_deref().unwrap_or(gang));
        }
        self.look_again(gang);
    }

    /// A member is gone. Who waited for it may be waiting for nothing: its gang gives back.
    pub(crate) fn remove(&mut self, uid: &str) {
        let Some(gang) = self.gangs.gang_of(uid).map(str::to_owned) else { return };
        let group = self.gangs.group_of(&gang);
        self.gangs.remove_member(uid);
        self.short.remove(uid);
        self.leave(uid, &gang);
        let holds =
            |(uid, m): (&Arc<str>, &Member)| matches!(m.state, State::Holding { .. }).then(|| uid.clone());
        let holder = group.iter().flat_map(|g| self.gangs.members_of(g)).find_map(holds);
        // All members of a group are ready, or none is.
        let stranded = holder.filter(|uid| self.gangs.ready(uid).is_err());
        if let Some(uid) = stranded {
            let why: Arc<str> = format!("Gang {gang:?} gets rejected due to a member that has left").into();
            let places = self.gangs.lost(&uid);
            self.give_back(places, None, &why);
        }
    }

    /// Whoever stands for a fallen group and is out of the question now makes way for all.
    fn leave(&mut self, uid: &str, gang: &str) {
        let group = self.group(gang);
        if self.fallen.get(&group).is_some_and(|f| *f.first == *uid) {
            self.raise(gang);
        }
    }

    fn group(&self, gang: &str) -> String {
        self.gangs.group_of(gang).into_iter().next().unwrap_or_default()
    }

    /// The group of a gang is tried again as a whole.
    fn raise(&mut self, gang: &str) {
        let group = self.group(gang);
        if self.fallen.remove(&group).is_some() {
            self.orders.extend(self.gangs.turn(gang).into_iter().map(Order::Try));
        }
    }

    /// Members that waited for their group to be complete are tried if it is now.
    fn look_again(&mut self, gang: &str) {
        if self.short.is_empty() {
            return;
        }
        let group = self.gangs.group_of(gang);
        let mut members = group.iter().flat_map(|g| self.gangs.members_of(g)).map(|(uid, _)| uid);
        // All members of a group are ready, or none is.
        let one = members.find(|uid| self.short.contains(*uid)).cloned();
        drop(members);
        if one.is_none_or(|uid| self.gangs.ready(&uid).is_err()) {
            return;
        }
        self.try_short(gang);
    }

    /// Members that waited for their group to be complete are tried.
    fn try_short(&mut self, gang: &str) {
        for uid in self.gangs.turn(gang) {
            if self.short.remove(&uid) {
                self.orders.push(Order::Try(uid));
            }
        }
    }

    /// Whether a pod may be tried now. Who is in no gang always may.
    pub(crate) fn admit(&mut self, uid: &Arc<str>) -> Result<(), Held> {
        let Some(gang) = self.gangs.gang_of(uid).map(str::to_owned) else { return Ok(()) };
        if let Err(why) = self.gangs.ready(uid) {
            self.short.insert(uid.clone());
            return Err(Held::until_told(why.to_string().into()));
        }
        match self.fallen.get(&self.group(&gang)) {
            Some(fallen) if fallen.first != *uid && self.gangs.falls_together(&gang) => {
                Err(Held::until_told(fallen.why.clone()))
            }
            _ => Ok(()),
        }
    }

    /// A member has found a node.
    pub(crate) fn permit(&mut self, uid: &Arc<str>, node: &str, now: Time) -> Permit {
        let Some(turn) = self.gangs.placed(uid, node, now) else { return Permit::Go };
        let gang = self.gangs.gang_of(uid).map(str::to_owned).unwrap_or_default();
        self.raise(&gang);
        match turn {
            Turn::Wait { until } => {
                self.soonest = Some(self.soonest.map_or(until, |at| at.min(until)));
                Permit::Wait(until)
            }
            Turn::Go(places) => {
                let others = places.into_iter().filter(|p| p.uid != *uid);
                self.orders.extend(others.map(|p| Order::Release(p.uid)));
                Permit::Go
            }
        }
    }

    /// A member has found no node, and why.
    pub(crate) fn refused(&mut self, uid: &Arc<str>, pod: &str, why: &str) {
        let Some(gang) = self.gangs.gang_of(uid).map(str::to_owned) else { return };
        if !self.gangs.falls_together(&gang) {
            return;
        }
        let places = self.gangs.failed(uid);
        let held = places.len();
        let why: Arc<str> = format!(
            "Gang {gang:?} gets rejected due to member Pod {pod:?} is unschedulable with reason {why:?}, alreadyWaitForBound: {held}"
        )
        .into();
        self.fallen.insert(self.group(&gang), Fallen { first: uid.clone(), why: why.clone() });
        self.give_back(places, None, &why);
    }

    fn give_back(&mut self, places: Vec<Place>, but: Option<&str>, why: &Arc<str>) {
        let others = places.into_iter().filter(|p| but != Some(&*p.uid));
        self.orders.extend(others.map(|p| Order::GiveBack(p.uid, Held::until_told(why.clone()))));
    }

    /// A member's place is given back by somebody else: its bind failed, its time is over, it is gone.
    pub(crate) fn unreserve(&mut self, uid: &Arc<str>) {
        match self.gangs.state_of(uid) {
            Some(State::Binding { .. }) => {
                self.gangs.bind_failed(uid);
            }
            Some(State::Holding { .. }) => {
                let gang = self.gangs.gang_of(uid).unwrap_or_default();
                let why: Arc<str> =
                    format!("Gang {gang:?} gets rejected due to a place that was given up").into();
                let places = self.gangs.lost(uid);
                self.give_back(places, Some(uid), &why);
            }
            Some(State::Pending | State::Bound) | None => {}
        }
    }

    /// A member is bound.
    pub(crate) fn bound(&mut self, uid: &str) {
        self.gangs.bound(uid);
    }

    /// A node is gone: who holds a place there holds none, and its gang falls with it.
    pub(crate) fn drop_node(&mut self, node: &str) {
        let there: Vec<Arc<str>> =
            self.gangs.holding().filter(|(_, at)| ***at == *node).map(|(uid, _)| uid.clone()).collect();
        for uid in there {
            let gang = self.gangs.gang_of(&uid).unwrap_or_default().to_owned();
            let why: Arc<str> =
                format!("Gang {gang:?} gets rejected due to the loss of node {node:?}").into();
            let places = self.gangs.lost(&uid);
            self.give_back(places, None, &why);
            self.orders.extend(self.gangs.turn(&gang).into_iter().map(Order::Try));
        }
    }

    /// Time has passed: who has waited too long gives back.
    fn expire(&mut self, now: Time) {
        if self.soonest.is_none_or(|at| at > now) {
            return;
        }
        let late = self.gangs.expire(now);
        self.soonest = self.gangs.next_expiry();
        for place in late {
            let gang = self.gangs.gang_of(&place.uid).unwrap_or_default();
            let wait = self.gangs.words(gang).map(|w| i64::try_from(w.wait.as_nanos()).unwrap_or(i64::MAX));
            let wait = wait.unwrap_or_default();
            let why: Arc<str> = format!("{TIMEOUT} {} at plugin Coscheduling", go_duration(wait)).into();
            self.orders.push(Order::GiveBack(place.uid.clone(), Held::until_told(why)));
            self.orders.push(Order::Try(place.uid));
        }
    }

    /// What is to be done to members, since last asked.
    pub(crate) fn orders(&mut self, now: Time) -> Vec<Order> {
        self.expire(now);
        std::mem::take(&mut self.orders)
    }

    /// Whether a pod is in a gang.
    pub(crate) fn knows(&self, uid: &str) -> bool {
        self.gangs.gang_of(uid).is_some()
    }

    /// The gangs as they are.
    pub(crate) fn gangs(&self) -> &Gangs {
        &self.gangs
    }
}
