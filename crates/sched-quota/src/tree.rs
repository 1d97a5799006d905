//! One tree of quotas with the pods that are in them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api_koord::quota::QuotaWords;
use api_koord::{Amounts, names};
use stdx::Time;

use crate::split::{Share, split};

/// How many quotas may stand above one another.
pub const DEPTH_MAX: usize = 16;

/// How quotas are judged; the words of Koordinator's plugin arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The limit is what a quota may use now (`EnableRuntimeQuota`); otherwise its maximum.
    pub runtime: bool,
    /// Quotas above are judged too (`EnableCheckParentQuota`).
    pub parents: bool,
    /// Minima shrink in proportion where their sum is beyond what there is (`EnableMinQuotaScale`).
    pub scale_min: bool,
    /// What pods use is kept for their quota like a minimum (`ElasticQuotaGuaranteeUsage`).
    pub guarantee: bool,
}

impl Default for Settings {
    /// Koordinator's: runtime, and nothing else.
    fn default() -> Settings {
        Settings { runtime: true, parents: false, scale_min: false, guarantee: false }
    }
}

/// A pod as quotas see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodFact {
    /// Its quota.
    pub quota: String,
    /// What it asks for.
    pub request: Amounts,
    /// Nobody of its quota may take its place.
    pub is_firm: bool,
    /// Who gives way.
    pub priority: i32,
    /// Who came later gives way first.
    pub created: Time,
    /// It has a node.
    pub is_placed: bool,
}

/// A quota that cannot be where it says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// It would be above itself.
    #[error("quota {0} would be its own ancestor")]
    Circle(String),
    /// Too many above one another.
    #[error("quota {0} would be more than {DEPTH_MAX} levels deep")]
    Deep(String),
    /// The root is not an object.
    #[error("{} has no object that counts", names::ROOT_QUOTA)]
    Root,
}

/// Quotas, their pods, and what each may use.
#[derive(Clone, Debug)]
pub struct Tree {
    settings: Settings,
    total: Amounts,
    quotas: BTreeMap<String, Quota>,
    /// Children by the parent they name, whether it is there or not.
    below: BTreeMap<String, BTreeSet<String>>,
    pods: BTreeMap<Arc<str>, PodFact>,
}

/// One quota.
#[derive(Clone, Debug, Default)]
pub(crate) struct Quota {
    pub(crate) words: QuotaWords,
    pub(crate) pods: BTreeSet<Arc<str>>,
    sums: Sums,
    /// What it may use, valid while its parent's split is.
    runtime: Amounts,
    /// What was shared out among its children, and whether that still holds.
    shared: Option<Amounts>,
}

/// Sums over a quota's pods and everything below.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sums {
    asked: Amounts,
    used: Amounts,
    firm: Amounts,
    kept: Amounts,
}

impl Sums {
    fn each(&mut self, other: &Sums, with: fn(&mut Amounts, &Amounts)) {
        let pairs = [
            (&mut self.asked, &other.asked),
            (&mut self.used, &other.used),
            (&mut self.firm, &other.firm),
            (&mut self.kept, &other.kept),
        ];
        for (mine, theirs) in pairs {
            with(mine, theirs);
            mine.drop_zeros();
        }
    }

    fn is_zero(&self) -> bool {
        [&self.asked, &self.used, &self.firm, &self.kept].iter().all(|a| a.is_zero())
    }
}

/// Everything there is to say about a quota: what its annotations and its status tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// What it may use now. Without a place in the tree: nothing.
    pub runtime: Amounts,
    /// What its pods and the quotas below ask for.
    pub child_request: Amounts,
    /// The same, or its minimum where it does not lend.
    pub request: Amounts,
    /// What its pods and those below use.
    pub used: Amounts,
    /// What firm ones of them use.
    pub firm_used: Amounts,
    /// What is kept for it.
    pub guaranteed: Amounts,
    /// What is given below.
    pub allocated: Amounts,
}

impl Tree {
    /// A tree without quotas but the built-in ones, over so much.
    pub fn new(settings: Settings, total: Amounts) -> Tree {
        let mut tree =
            Tree { settings, total, quotas: BTreeMap::new(), below: BTreeMap::new(), pods: BTreeMap::new() };
        for name in [names::ROOT_QUOTA, names::SYSTEM_QUOTA, names::DEFAULT_QUOTA] {
            let words = QuotaWords { name: name.to_owned(), lent: true, ..QuotaWords::default() };
            tree.quotas.insert(name.to_owned(), Quota { words, ..Quota::default() });
        }
        tree
    }

    /// How quotas are judged.
    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// There is more or less to share out.
    pub fn set_total(&mut self, total: Amounts) {
        self.total = total;
    }

    /// What there is to share out, system and default pods apart.
    pub fn total(&self) -> Amounts {
        let mut total = self.total.clone();
        for name in [names::SYSTEM_QUOTA, names::DEFAULT_QUOTA] {
            total.sub(&self.quotas[name].sums.used);
        }
        total
    }

    /// Names of all quotas, in order, built-in ones included.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.quotas.keys().map(String::as_str)
    }

    /// What a quota says.
    pub fn words(&self, name: &str) -> Option<&QuotaWords> {
        self.quotas.get(name).map(|q| &q.words)
    }

    pub(crate) fn quota(&self, name: &str) -> Option<&Quota> {
        self.quotas.get(name)
    }

    /// Pods, by identity.
    pub fn pods(&self) -> &BTreeMap<Arc<str>, PodFact> {
        &self.pods
    }

    /// A quota is there, or has changed. Its parent may come later: until then it and what is below it may use nothing.
    pub fn set_quota(&mut self, mut words: QuotaWords) -> Result<(), TreeError> {
        let name = words.name.clone();
        if name == names::ROOT_QUOTA {
            return Err(TreeError::Root);
        }
        if is_built_in(&name) {
            words.parent = String::new();
        }
        self.check_place(&name, &words.parent)?;
        let masks_as_before = self.words(&name).is_some_and(|old| old.max.0.keys().eq(words.max.0.keys()));
        self.detach(&name);
        if !words.parent.is_empty() {
            self.below.entry(words.parent.clone()).or_default().insert(name.clone());
        }
        let is_new = !self.quotas.contains_key(&name);
        let quota = self.quotas.entry(name.clone()).or_default();
        quota.words = words;
        quota.shared = None;
        if is_new || !masks_as_before {
            self.count_anew(&name);
        }
        self.attach(&name);
        Ok(())
    }

    /// A quota is gone. Its pods stay known and count for nothing until they are set again; quotas below may use nothing.
    pub fn remove_quota(&mut self, name: &str) {
        if is_built_in(name) || name == names::ROOT_QUOTA {
            return;
        }
        self.detach(name);
        self.quotas.remove(name);
    }

    fn check_place(&self, name: &str, parent: &str) -> Result<(), TreeError> {
        let mut above = 0;
        let mut at = parent;
        while let Some(quota) = self.quotas.get(at) {
            if at == name {
                return Err(TreeError::Circle(name.to_owned()));
            }
            above += 1;
            at = &quota.words.parent;
        }
        if at == name {
            return Err(TreeError::Circle(name.to_owned()));
        }
        let deep = above + self.height(name, DEPTH_MAX + 1) > DEPTH_MAX;
        if deep { Err(TreeError::Deep(name.to_owned())) } else { Ok(()) }
    }

    /// Levels from a quota down, itself included; not counted beyond a bound.
    fn height(&self, name: &str, bound: usize) -> usize {
        if bound == 0 {
            return 1;
        }
        let children = self.below.get(name).into_iter().flatten();
        1 + children.map(|child| self.height(child, bound - 1)).max().unwrap_or(0)
    }

    /// Takes what a quota brings away from its parent.
    fn detach(&mut self, name: &str) {
        let Some(quota) = self.quotas.get(name) else { return };
        let parent = quota.words.parent.clone();
        let brought = self.brings(quota);
        if let Some(siblings) = self.below.get_mut(&parent) {
            siblings.remove(name);
            if siblings.is_empty() {
                self.below.remove(&parent);
            }
        }
        let mut none = Sums::default();
        none.each(&brought, Amounts::sub);
        self.climb(&parent, none);
        self.unshare(&parent);
    }

    /// Brings a quota's sums to its parent.
    fn attach(&mut self, name: &str) {
        let quota = &self.quotas[name];
        let (parent, brought) = (quota.words.parent.clone(), self.brings(quota));
        self.climb(&parent, brought);
        self.unshare(&parent);
    }

    /// Its sums from its pods and from the quotas below it.
    fn count_anew(&mut self, name: &str) {
        let quota = &self.quotas[name];
        let mut sums = Sums::default();
        for uid in &quota.pods {
            sums.each(&self.weighed(&self.pods[uid], &quota.words), Amounts::add);
        }
        for child in self.below.get(name).into_iter().flatten() {
            sums.each(&self.brings(&self.quotas[child]), Amounts::add);
        }
        self.quotas.get_mut(name).expect("it was read before").sums = sums;
    }

    /// What a pod counts in its quota: resources that the quota's maximum names.
    fn weighed(&self, pod: &PodFact, words: &QuotaWords) -> Sums {
        let asked = pod.request.masked(&words.max);
        let used = if pod.is_placed { asked.clone() } else { Amounts::default() };
        Sums {
            firm: if pod.is_firm { used.clone() } else { Amounts::default() },
            kept: used.clone(),
            asked,
            used,
        }
    }

    /// What a quota counts in its parent.
    fn brings(&self, quota: &Quota) -> Sums {
        Sums {
            asked: limited(quota),
            used: quota.sums.used.clone(),
            firm: quota.sums.firm.clone(),
            kept: guaranteed(quota),
        }
    }

    /// Adds to a quota and to everything above it what the change makes there. Costs the depth.
    fn climb(&mut self, start: &str, mut delta: Sums) {
        let mut at = start.to_owned();
        while !delta.is_zero() {
            let Some(quota) = self.quotas.get(&at) else { return };
            let before = self.brings(quota);
            let quota = self.quotas.get_mut(&at).expect("it was read before");
            quota.sums.each(&delta, Amounts::add);
            let parent = quota.words.parent.clone();
            let mut after = self.brings(&self.quotas[&at]);
            if after.asked != before.asked || after.kept != before.kept {
                self.unshare(&parent);
            }
            after.each(&before, Amounts::sub);
            (delta, at) = (after, parent);
        }
    }

    /// What was shared out below a quota no longer holds.
    fn unshare(&mut self, name: &str) {
        if let Some(quota) = self.quotas.get_mut(name) {
            quota.shared = None;
        }
    }

    /// A pod is there, or has changed. While its quota is not there it counts for nothing, and has to be set again when that comes.
    pub fn set_pod(&mut self, uid: impl Into<Arc<str>>, pod: PodFact) {
        let uid = uid.into();
        self.remove_pod(&uid);
        if let Some(quota) = self.quotas.get_mut(&pod.quota) {
            quota.pods.insert(uid.clone());
            let sums = self.weighed(&pod, &self.quotas[&pod.quota].words);
            self.climb(&pod.quota, sums);
        }
        self.pods.insert(uid, pod);
    }

    /// A pod has got a node, or lost the one it was to get.
    pub fn set_placed(&mut self, uid: &str, is_placed: bool) {
        if let Some(pod) = self.pods.get(uid)
            && pod.is_placed != is_placed
        {
            let changed = PodFact { is_placed, ..pod.clone() };
            self.set_pod(uid, changed);
        }
    }

    /// A pod is gone.
    pub fn remove_pod(&mut self, uid: &str) -> Option<PodFact> {
        let pod = self.pods.remove(uid)?;
        if let Some(quota) = self.quotas.get_mut(&pod.quota)
            && quota.pods.remove(uid)
        {
            let mut none = Sums::default();
            none.each(&self.weighed(&pod, &self.quotas[&pod.quota].words), Amounts::sub);
            self.climb(&pod.quota, none);
        }
        Some(pod)
    }

    /// Whether a chain of parents leads to the root.
    pub fn is_rooted(&self, name: &str) -> bool {
        self.path(name).is_some()
    }

    /// From below the root down to a quota. `None`: it has no place in the tree.
    pub(crate) fn path(&self, name: &str) -> Option<Vec<String>> {
        let mut path = Vec::new();
        let mut at = name;
        while at != names::ROOT_QUOTA {
            let quota = self.quotas.get(at)?;
            path.push(at.to_owned());
            at = &quota.words.parent;
        }
        path.reverse();
        Some(path)
    }

    /// What a quota may use now, of the resources that its maximum names. Costs the depth where nothing changed, and the siblings
    /// of each level where something did. The built-in ones may use their maximum; who has no place may use nothing.
    pub fn runtime(&mut self, name: &str) -> Amounts {
        let Some(quota) = self.quotas.get(name) else { return Amounts::default() };
        if name == names::ROOT_QUOTA {
            return self.total();
        }
        let max = quota.words.max.clone();
        if is_built_in(name) {
            return max;
        }
        let Some(path) = self.path(name) else {
            return Amounts(max.0.into_keys().map(|key| (key, 0)).collect());
        };
        let (mut parent, mut whole) = (names::ROOT_QUOTA.to_owned(), self.total());
        for quota in path {
            self.share_out(&parent, whole);
            whole = self.quotas[&quota].runtime.clone();
            parent = quota;
        }
        Amounts(max.0.keys().map(|key| (key.clone(), whole.get(key))).collect())
    }

    /// Shares a parent's resources out among its children, unless that was done and holds.
    fn share_out(&mut self, parent: &str, whole: Amounts) {
        if self.quotas[parent].shared.as_ref() == Some(&whole) {
            return;
        }
        let children: Vec<&str> = self.below.get(parent).into_iter().flatten().map(String::as_str).collect();
        let keys: BTreeSet<&str> =
            children.iter().flat_map(|c| self.quotas[*c].words.max.0.keys()).map(String::as_str).collect();
        let mut runtimes = vec![Amounts::default(); children.len()];
        for key in keys {
            let shares = self.shares(&children, key, whole.get(key));
            for (runtime, given) in runtimes.iter_mut().zip(split(whole.get(key), &shares)) {
                runtime.0.insert(key.to_owned(), given);
            }
        }
        let children: Vec<String> = children.into_iter().map(str::to_owned).collect();
        for (child, runtime) in children.iter().zip(runtimes) {
            self.quotas.get_mut(child).expect("children are quotas").runtime = runtime;
        }
        self.quotas.get_mut(parent).expect("it was read before").shared = Some(whole);
    }

    fn shares<'a>(&'a self, children: &[&'a str], key: &str, total: i64) -> Vec<Share<'a>> {
        let min = |name: &str| self.quotas[name].words.min.get(key);
        let sum: i128 = children.iter().map(|c| i128::from(min(c))).sum();
        let scaled = |min: i64| {
            if !self.settings.scale_min || sum <= i128::from(total) {
                return min;
            }
            let part = i128::from(total.max(0)) * i128::from(min) / sum.max(1);
            i64::try_from(part).expect("a part of a number is no larger")
        };
        let share = |name: &&'a str| {
            let name = *name;
            let quota = &self.quotas[name];
            let kept = if self.settings.guarantee { guaranteed(quota).get(key) } else { 0 };
            Share {
                name,
                weight: quota.words.weight.get(key),
                request: limited(quota).get(key),
                min: scaled(quota.words.min.get(key)).max(kept),
                lent: quota.words.lent,
            }
        };
        children.iter().map(share).collect()
    }

    /// Everything there is to say about a quota.
    pub fn standing(&mut self, name: &str) -> Option<Standing> {
        let runtime = self.runtime(name);
        let quota = self.quotas.get(name)?;
        Some(Standing {
            runtime,
            child_request: quota.sums.asked.clone(),
            request: asked(quota),
            used: quota.sums.used.clone(),
            firm_used: quota.sums.firm.clone(),
            guaranteed: guaranteed(quota),
            allocated: quota.sums.kept.clone(),
        })
    }

    pub(crate) fn used(&self, name: &str) -> Amounts {
        self.quotas.get(name).map(|q| q.sums.used.clone()).unwrap_or_default()
    }

    pub(crate) fn firm_used(&self, name: &str) -> Amounts {
        self.quotas.get(name).map(|q| q.sums.firm.clone()).unwrap_or_default()
    }
}

pub(crate) fn is_built_in(name: &str) -> bool {
    name == names::SYSTEM_QUOTA || name == names::DEFAULT_QUOTA
}

/// What a quota asks for: what is below it, and its own at least where it does not lend.
fn asked(quota: &Quota) -> Amounts {
    let mut asked = quota.sums.asked.clone();
    if !quota.words.lent {
        asked.raise(&quota.words.min);
    }
    asked
}

/// The same, within its maximum.
fn limited(quota: &Quota) -> Amounts {
    let mut limited = asked(quota);
    for (name, amount) in &mut limited.0 {
        if let Some(max) = quota.words.max.0.get(name) {
            *amount = (*amount).min(*max);
        }
    }
    limited.drop_zeros();
    limited
}

/// What is kept for a quota: its minimum, or what is given below it.
fn guaranteed(quota: &Quota) -> Amounts {
    let mut kept = quota.sums.kept.clone();
    kept.raise(&quota.words.min);
    kept.drop_zeros();
    kept
}
