//! All trees of a cluster, and which quota a pod is in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api_koord::quota::QuotaWords;
use api_koord::{Amounts, names};

use crate::admit::Refused;
use crate::tree::{PodFact, Settings, Tree, TreeError};

/// The trees of a cluster by their id; the empty one is the cluster's own.
///
/// A pod is in the quota its label names, else in the one named like its namespace and kept there, else in the one that lists its
/// namespace, else in the default quota. A label that names no quota means the default one until that quota comes.
#[derive(Clone, Debug)]
pub struct Forest {
    settings: Settings,
    cluster: Amounts,
    trees: BTreeMap<String, Tree>,
    /// Tree of each quota.
    homes: BTreeMap<String, String>,
    pods: BTreeMap<Arc<str>, Placed>,
    /// Pods by what decides about their quota.
    by: BTreeMap<Sign, BTreeSet<Arc<str>>>,
}

/// What decides about a pod's quota: its label, or without one its namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Sign {
    Label(String),
    Namespace(String),
}

impl Sign {
    fn of(label: Option<&str>, namespace: &str) -> Sign {
        label.map_or_else(|| Sign::Namespace(namespace.to_owned()), |l| Sign::Label(l.to_owned()))
    }
}

/// A pod and where it says it belongs.
#[derive(Clone, Debug)]
struct Placed {
    fact: PodFact,
    label: Option<String>,
    namespace: String,
    tree: String,
}

impl Forest {
    /// No quotas yet; the cluster has so much.
    pub fn new(settings: Settings, cluster: Amounts) -> Forest {
        let trees = BTreeMap::from([(String::new(), Tree::new(settings, cluster.clone()))]);
        Forest {
            settings,
            cluster,
            trees,
            homes: BTreeMap::new(),
            pods: BTreeMap::new(),
            by: BTreeMap::new(),
        }
    }

    /// The cluster has more or less.
    pub fn set_cluster(&mut self, total: Amounts) {
        self.cluster = total;
        self.set_totals();
    }

    /// A tree by id.
    pub fn tree(&mut self, id: &str) -> Option<&mut Tree> {
        self.trees.get_mut(id)
    }

    /// The tree in which a quota is.
    pub fn tree_of(&mut self, quota: &str) -> Option<&mut Tree> {
        let id = match self.homes.get(quota) {
            Some(id) => id.as_str(),
            None if crate::tree::is_built_in(quota) => "",
            None => return None,
        };
        self.trees.get_mut(id)
    }

    /// A quota is there, or has changed. Pods that belong to it move there.
    pub fn set_quota(&mut self, words: QuotaWords) -> Result<(), TreeError> {
        let (name, id) = (words.name.clone(), words.tree.clone());
        let before = self.claims_of(&name);
        let after = claims(&words);
        let settings = self.settings;
        let tree = self.trees.entry(id.clone()).or_insert_with(|| Tree::new(settings, Amounts::default()));
        tree.set_quota(words)?;
        let old = self.homes.insert(name.clone(), id.clone());
        let has_moved = old.as_ref() != Some(&id);
        if let Some(tree) = old.filter(|old| *old != id).and_then(|old| self.trees.get_mut(&old)) {
            tree.remove_quota(&name);
        }
        self.set_totals();
        // Most changes of a quota are of amounts, and move nobody.
        if has_moved || before != after {
            self.settle(before.into_iter().chain(after));
        }
        Ok(())
    }

    /// A quota is gone. Its pods move to where they belong without it.
    pub fn remove_quota(&mut self, name: &str) {
        let before = self.claims_of(name);
        let Some(id) = self.homes.remove(name) else { return };
        if let Some(tree) = self.trees.get_mut(&id) {
            tree.remove_quota(name);
        }
        self.set_totals();
        self.settle(before);
    }

    fn claims_of(&self, name: &str) -> BTreeSet<Sign> {
        let words = self.homes.get(name).and_then(|id| self.trees.get(id)?.words(name));
        words.map(claims).unwrap_or_default()
    }

    /// A tree of its own has what its root says; the cluster's own has the rest, but for trees that stand beside it.
    fn set_totals(&mut self) {
        let mut rest = self.cluster.clone();
        for (id, tree) in &mut self.trees {
            if id.is_empty() {
                continue;
            }
            let roots: Vec<&QuotaWords> = tree
                .names()
                .filter_map(|n| tree.words(n))
                .filter(|w| w.is_root && w.total.is_some())
                .collect();
            let (mut total, mut taken) = (Amounts::default(), Amounts::default());
            for root in roots {
                let own = root.total.clone().unwrap_or_default();
                total.add(&own);
                if !root.beside_default {
                    taken.add(&own);
                }
            }
            rest.sub(&taken);
            tree.set_total(total);
        }
        if let Some(own) = self.trees.get_mut("") {
            own.set_total(rest);
        }
    }

    /// A pod is there, or has changed; `fact.quota` is found here.
    pub fn set_pod(&mut self, uid: impl Into<Arc<str>>, label: Option<&str>, namespace: &str, fact: PodFact) {
        let uid = uid.into();
        self.remove_pod(&uid);
        let placed = Placed {
            fact,
            label: label.map(str::to_owned),
            namespace: namespace.to_owned(),
            tree: String::new(),
        };
        self.by.entry(Sign::of(label, namespace)).or_default().insert(uid.clone());
        self.pods.insert(uid.clone(), placed);
        self.seat(&uid);
    }

    /// A pod has got a node, or lost the one it was to get.
    pub fn set_placed(&mut self, uid: &str, is_placed: bool) {
        let Some(pod) = self.pods.get_mut(uid) else { return };
        pod.fact.is_placed = is_placed;
        if let Some(tree) = self.trees.get_mut(&pod.tree) {
            tree.set_placed(uid, is_placed);
        }
    }

    /// A pod is gone.
    pub fn remove_pod(&mut self, uid: &str) {
        let Some(pod) = self.pods.remove(uid) else { return };
        let sign = Sign::of(pod.label.as_deref(), &pod.namespace);
        if let Some(uids) = self.by.get_mut(&sign) {
            uids.remove(uid);
            if uids.is_empty() {
                self.by.remove(&sign);
            }
        }
        if let Some(tree) = self.trees.get_mut(&pod.tree) {
            tree.remove_pod(uid);
        }
    }

    /// The quota of a pod with this label in this namespace.
    pub fn quota_of(&self, label: Option<&str>, namespace: &str) -> &str {
        if let Some(named) = label {
            return self.homes.get_key_value(named).map_or(names::DEFAULT_QUOTA, |(name, _)| name);
        }
        let words = |name: &str| self.homes.get(name).and_then(|id| self.trees.get(id)?.words(name));
        if let Some((name, _)) = self.homes.get_key_value(namespace)
            && words(name).is_some_and(|w| w.namespace == namespace)
        {
            return name;
        }
        let lists = |name: &&String| words(name).is_some_and(|w| w.namespaces.iter().any(|n| n == namespace));
        self.homes.keys().find(lists).map_or(names::DEFAULT_QUOTA, String::as_str)
    }

    /// Moves pods whose quota may be another now.
    fn settle(&mut self, signs: impl IntoIterator<Item = Sign>) {
        let of = |sign: Sign| self.by.get(&sign).into_iter().flatten().cloned();
        let uids: BTreeSet<Arc<str>> = signs.into_iter().flat_map(of).collect();
        uids.iter().for_each(|uid| self.seat(uid));
    }

    fn seat(&mut self, uid: &Arc<str>) {
        let Some(pod) = self.pods.get(uid) else { return };
        let quota = self.quota_of(pod.label.as_deref(), &pod.namespace).to_owned();
        let home = self.homes.get(&quota).cloned().unwrap_or_default();
        let (tree, is_seated) =
            (pod.tree.clone(), |t: &Tree| t.pods().get(uid).is_some_and(|p| p.quota == quota));
        if tree == home && self.trees.get(&home).is_some_and(is_seated) {
            return;
        }
        if let Some(old) = self.trees.get_mut(&tree) {
            old.remove_pod(uid);
        }
        let pod = self.pods.get_mut(uid).expect("it was read before");
        pod.tree = home.clone();
        pod.fact.quota = quota;
        let fact = pod.fact.clone();
        if let Some(new) = self.trees.get_mut(&home) {
            new.set_pod(uid.clone(), fact);
        }
    }

    /// Whether a pod that is known may start now.
    pub fn admit(&mut self, uid: &str) -> Result<(), Refused> {
        let pod = self.pods.get(uid).ok_or(Refused::NoQuota)?;
        let (quota, request, is_firm) = (pod.fact.quota.clone(), pod.fact.request.clone(), pod.fact.is_firm);
        let tree = self.trees.get_mut(&pod.tree).ok_or(Refused::NoQuota)?;
        tree.admit(&quota, &request, is_firm)
    }
}

/// What pods a quota may be the quota of.
fn claims(words: &QuotaWords) -> BTreeSet<Sign> {
    let mut claims: BTreeSet<Sign> = words.namespaces.iter().cloned().map(Sign::Namespace).collect();
    claims.insert(Sign::Label(words.name.clone()));
    if words.namespace == words.name {
        claims.insert(Sign::Namespace(words.name.clone()));
    }
    claims
}
