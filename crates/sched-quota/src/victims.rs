//! Who gives way within a quota: for a pod that may start with a little room, and when a quota uses more than it may.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api_koord::Amounts;
use stdx::Time;

use crate::tree::{PodFact, Tree};

/// A pod that others of its quota may replace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Victim {
    /// Its identity.
    pub uid: Arc<str>,
    /// Its priority.
    pub priority: i32,
    /// What it frees.
    pub request: Amounts,
}

/// A quota that has used more than it may for too long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overuse {
    /// The quota.
    pub quota: String,
    /// What it may use.
    pub runtime: Amounts,
    /// What it uses.
    pub used: Amounts,
    /// Pods to evict so that it fits, most important first. When even all that may go are not enough: all of these.
    pub victims: Vec<Victim>,
}

impl Tree {
    /// Placed pods of a quota that a pod of this priority may replace, the least important first: lower priority, not firm; among
    /// equals who came later. The scheduler chooses among them node by node.
    pub fn candidates(&self, name: &str, priority: i32) -> Vec<Victim> {
        let Some(quota) = self.quota(name) else { return Vec::new() };
        let facts = quota.pods.iter().map(|uid| (uid, &self.pods()[uid]));
        let mut found: Vec<(&Arc<str>, &PodFact)> =
            facts.filter(|(_, p)| p.is_placed && !p.is_firm && p.priority < priority).collect();
        found.sort_by_key(|(uid, p)| (p.priority, std::cmp::Reverse(p.created), (*uid).clone()));
        let victim = |(uid, p): (&Arc<str>, &PodFact)| Victim {
            uid: uid.clone(),
            priority: p.priority,
            request: p.request.masked(&quota.words.max),
        };
        found.into_iter().map(victim).collect()
    }

    /// Pods that must go so that the quota has room for one more: as few and as unimportant as can be, most important first. `None`:
    /// even without all of them there is none, or the pod is firm and the minimum is used up by firm ones.
    pub fn make_room(
        &mut self,
        name: &str,
        request: &Amounts,
        is_firm: bool,
        priority: i32,
    ) -> Option<Vec<Victim>> {
        let words = self.words(name)?;
        let (request, min) = (request.masked(&words.max), words.min.clone());
        let mut firm = self.firm_used(name);
        firm.add(&request);
        if is_firm && firm.beyond(&min).next().is_some() {
            return None;
        }
        let limit = self.limit(name);
        let mut used = self.used(name);
        used.add(&request);
        Some(spare(used, &limit, self.candidates(name, priority))).filter(|(fits, _)| *fits).map(|(_, v)| v)
    }

    /// The quota's use beyond what it may, with who is to go. `None`: it keeps to it.
    fn overuse(&mut self, name: &str) -> Option<Overuse> {
        let (runtime, used) = (self.runtime(name), self.used(name));
        used.beyond(&runtime).next()?;
        let (_, victims) = spare(used.clone(), &runtime, self.candidates(name, i32::MAX));
        Some(Overuse { quota: name.to_owned(), runtime, used, victims })
    }
}

/// Takes from the least important up until the use fits, then gives back from the most important down what still fits. Whether it fits
/// at all, and who goes.
fn spare(mut used: Amounts, limit: &Amounts, candidates: Vec<Victim>) -> (bool, Vec<Victim>) {
    let fits = |used: &Amounts| used.beyond(limit).next().is_none();
    let mut taken = Vec::new();
    for victim in candidates {
        if fits(&used) {
            break;
        }
        used.sub(&victim.request);
        taken.push(victim);
    }
    taken.reverse();
    if !fits(&used) {
        return (false, taken);
    }
    taken.retain(|victim| {
        let mut with = used.clone();
        with.add(&victim.request);
        let stays = fits(&with);
        if stays {
            used = with;
        }
        !stays
    });
    (true, taken)
}

/// Watches quotas that use more than they may (`MonitorAllQuotas`), and says who is to go once that has lasted.
#[derive(Clone, Debug, Default)]
pub struct Revoker {
    since: BTreeMap<String, Time>,
}

impl Revoker {
    /// Looks at every quota of a tree. One that has been beyond its runtime for longer than `delay` (Koordinator: 120 s) is told, and
    /// told again only after another `delay`. A quota seen for the first time has been so since now.
    pub fn observe(&mut self, tree: &mut Tree, now: Time, delay: Duration) -> Vec<Overuse> {
        let is_judged =
            |name: &&str| ![api_koord::names::ROOT_QUOTA, api_koord::names::SYSTEM_QUOTA].contains(name);
        let names: Vec<String> = tree.names().filter(is_judged).map(str::to_owned).collect();
        self.since.retain(|name, _| names.binary_search(name).is_ok());
        let mut out = Vec::new();
        for name in names {
            let Some(overuse) = tree.overuse(&name) else {
                self.since.remove(&name);
                continue;
            };
            let since = *self.since.entry(name.clone()).or_insert(now);
            if now.since(since) > delay {
                self.since.insert(name, now);
                out.push(overuse);
            }
        }
        out
    }

    /// When to look again at the latest, while something is beyond its runtime.
    pub fn next(&self, delay: Duration) -> Option<Time> {
        self.since.values().min().map(|since| *since + delay + Duration::from_micros(1))
    }
}
