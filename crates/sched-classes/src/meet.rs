//! Who meets on a node: applications that strain the same thing at the same time are kept apart, and exclusive hosts are exclusive.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use api_koord::meet::Meeting;
use api_koord::names;
use sched_core::{NodeInfo, PodFact, Rejection, Slot};
use sched_plugins::Extra;

use crate::words::PodWords;

/// Best score.
const SCORE_MAX: i64 = 100;

/// The rule: pods with a word of their profiles in common avoid or forbid each other, and pods that want a host of their own get one.
/// Says nothing about pods without such words, unless some host is taken whole.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meetings {
    said: HashMap<Arc<str>, Arc<Meeting>>,
    daemons: HashSet<Arc<str>>,
    hosts: HashMap<Arc<str>, BTreeMap<Arc<str>, Guest>>,
    homes: HashMap<Arc<str>, Arc<str>>,
    /// How many pods hold a host of their own.
    exclusive: usize,
}

/// A pod with words on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Guest {
    application: Arc<str>,
    meeting: Arc<Meeting>,
}

/// Who a pod belongs to: its application's name, else what made it, else itself.
fn application(pod: &PodFact) -> Arc<str> {
    let named = pod.kin.labels.get(names::APP_NAME).filter(|name| !name.is_empty());
    let named = named.map(|name| Arc::from(format!("{}/{name}", pod.kin.namespace)));
    named.or_else(|| pod.kin.owner.clone()).unwrap_or_else(|| pod.uid.clone())
}

/// How many words both profiles have.
fn common(a: &Meeting, b: &Meeting) -> usize {
    a.profile.intersection(&b.profile).count()
}

impl Meetings {
    /// What a pod says.
    pub(crate) fn learn(&mut self, uid: &Arc<str>, words: Option<&PodWords>) {
        if words.is_some_and(|w| w.is_daemon) {
            self.daemons.insert(uid.clone());
        } else {
            self.daemons.remove(uid);
        }
        match words.and_then(|w| w.meeting.clone()) {
            Some(meeting) => self.said.insert(uid.clone(), meeting),
            None => self.said.remove(uid),
        };
    }

    /// A pod is on a node, or is to be.
    pub(crate) fn put(&mut self, pod: &PodFact, node: &str) {
        self.take(&pod.uid);
        let Some(meeting) = self.said.get(&pod.uid).cloned() else { return };
        self.exclusive += usize::from(meeting.is_exclusive);
        let node: Arc<str> = node.into();
        self.homes.insert(pod.uid.clone(), node.clone());
        let guest = Guest { application: application(pod), meeting };
        self.hosts.entry(node).or_default().insert(pod.uid.clone(), guest);
    }

    /// A pod is on no node any more.
    pub(crate) fn take(&mut self, uid: &str) {
        let Some(node) = self.homes.remove(uid) else { return };
        let Some(host) = self.hosts.get_mut(&node) else { return };
        let gone = host.remove(uid);
        self.exclusive -= usize::from(gone.is_some_and(|g| g.meeting.is_exclusive));
        if host.is_empty() {
            self.hosts.remove(&node);
        }
    }

    /// A pod is gone.
    pub(crate) fn forget(&mut self, uid: &str) {
        self.take(uid);
        self.said.remove(uid);
        self.daemons.remove(uid);
    }

    fn guests(&self, node: &NodeInfo) -> impl Iterator<Item = &Guest> {
        self.hosts.get(&*node.fact.name).into_iter().flat_map(BTreeMap::values)
    }

    /// Whether a pod of another application is there that is no daemon.
    fn is_taken(&self, mine: &Arc<str>, node: &NodeInfo) -> bool {
        node.facts().any(|p| !self.daemons.contains(&p.uid) && application(p) != *mine)
    }

    /// Who is on which host, as lines.
    pub(crate) fn lines(&self) -> Vec<String> {
        let guest = |node: &Arc<str>, uid: &Arc<str>, guest: &Guest| format!("meet {node} {uid}: {guest:?}");
        let all = self.hosts.iter().flat_map(|(node, host)| host.iter().map(move |(uid, g)| (node, uid, g)));
        let mut lines: Vec<String> = all.map(|(node, uid, g)| guest(node, uid, g)).collect();
        lines.sort();
        lines
    }
}

impl Extra for Meetings {
    fn name(&self) -> &'static str {
        "Meetings"
    }

    fn concerns(&self, pod: &PodFact) -> bool {
        self.exclusive > 0 || (!self.said.is_empty() && self.said.contains_key(&pod.uid))
    }

    fn check(&self, pod: &PodFact, _: Slot, node: &NodeInfo) -> Option<Rejection> {
        if self.daemons.contains(&pod.uid) {
            return None;
        }
        let mine = application(pod);
        let meeting = self.said.get(&pod.uid);
        let owned = self.guests(node).any(|g| g.meeting.is_exclusive && g.application != mine);
        if owned {
            return Some(Rejection::resolvable("node(s) were exclusive to another application"));
        }
        let meeting = meeting?;
        if meeting.is_exclusive && self.is_taken(&mine, node) {
            return Some(Rejection::resolvable("node(s) had pods of other applications"));
        }
        let forbidden = |g: &Guest| (g.meeting.forbids || meeting.forbids) && common(&g.meeting, meeting) > 0;
        self.guests(node)
            .any(forbidden)
            .then(|| Rejection::resolvable("node(s) had pods whose profile must be kept apart"))
    }

    /// How many words in common it would meet: the fewer the better, see [`normalize`](Extra::normalize).
    fn rate(&self, pod: &PodFact, _: Slot, node: &NodeInfo) -> i64 {
        let Some(meeting) = self.said.get(&pod.uid) else { return 0 };
        let met: usize = self.guests(node).map(|g| common(&g.meeting, meeting)).sum();
        i64::try_from(met).unwrap_or(i64::MAX)
    }

    /// From meetings to a score: none is best, the most of all nodes is zero.
    fn normalize(&self, raws: &mut [i64]) {
        let most = raws.iter().copied().max().unwrap_or(0).max(1);
        raws.iter_mut().for_each(|raw| *raw = SCORE_MAX - *raw * SCORE_MAX / most);
    }
}
