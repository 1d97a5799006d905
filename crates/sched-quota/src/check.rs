//! What Koordinator's webhook refuses in an elastic quota, in its words.

use std::collections::BTreeMap;

use api_koord::quota::QuotaWords;
use api_koord::{Amounts, names};

/// What is wrong with a quota by itself: negative amounts, a minimum beyond the maximum, use beyond a strict maximum. The first finding.
pub fn by_itself(quota: &QuotaWords) -> Result<(), String> {
    let name = &quota.name;
    let negative = |a: &Amounts| -> Vec<String> {
        a.0.iter().filter(|(_, v)| **v < 0).map(|(n, _)| n.clone()).collect()
    };
    let go = |list: Vec<String>| format!("[{}]", list.join(" "));
    if !negative(&quota.max).is_empty() {
        return Err(format!(
            "{name} quota.Spec.Max's value < 0, in dimensions :{}",
            go(negative(&quota.max))
        ));
    }
    if !negative(&quota.min).is_empty() {
        return Err(format!(
            "{name} quota.Spec.Min's value < 0, in dimensions :{}",
            go(negative(&quota.min))
        ));
    }
    if !negative(&quota.weight).is_empty() {
        let (key, list) = (names::QUOTA_WEIGHT, go(negative(&quota.weight)));
        return Err(format!("{name} quota.Annotation[{key}]'s value < 0, in dimension :{list}"));
    }
    for key in quota.min.0.keys() {
        if !quota.max.0.contains_key(key) {
            return Err(format!(
                "resourceKey {key} of quota {name} is included in min, which is not included in max"
            ));
        }
        if quota.min.get(key) > quota.max.get(key) {
            let (min, max) = (quota.min.text(key), quota.max.text(key));
            return Err(format!("resourceKey {key} of quota {name} min {min} > max {max}"));
        }
    }
    strict(quota)
}

fn strict(quota: &QuotaWords) -> Result<(), String> {
    let name = &quota.name;
    for key in quota.strict.iter().filter(|key| quota.used.0.contains_key(*key)) {
        if !quota.max.0.contains_key(key) {
            return Err(format!(
                "resourceKey {key} of quota {name} is included in used, which is not included in max but should check max >= used"
            ));
        }
        if quota.max.get(key) < quota.used.get(key) {
            let (max, used) = (quota.max.text(key), quota.used.text(key));
            return Err(format!("resourceKey {key} of quota {name} max {max} < used {used}"));
        }
    }
    Ok(())
}

/// The other quotas of a cluster, for the questions that need them.
pub struct Others<'a> {
    quotas: &'a BTreeMap<String, QuotaWords>,
    /// Names of pods in the quota that is judged.
    pods: &'a [String],
}

impl<'a> Others<'a> {
    /// All quotas by name, the judged one as it was before among them; and names of the pods in that.
    pub fn new(quotas: &'a BTreeMap<String, QuotaWords>, pods: &'a [String]) -> Others<'a> {
        Others { quotas, pods }
    }

    /// What is wrong with a new or changed quota. The first finding, in upstream's order: namespaces, the quota by itself, parenthood,
    /// trees, the parent, resource names, sums of minima.
    pub fn check(&self, new: &QuotaWords) -> Result<(), String> {
        self.namespaces(new)?;
        by_itself(new)?;
        if new.name == names::ROOT_QUOTA {
            return Ok(());
        }
        self.parenthood(new)?;
        self.trees(new)?;
        if new.parent == names::ROOT_QUOTA && !new.is_parent {
            return Ok(());
        }
        self.parent(new)?;
        self.resources(new)
            .map_err(|why| format!("failed to check sub and parent group quotaKey, err: {why}"))?;
        self.minima(new)
    }

    /// Why a quota may not be deleted: it is built in, has quotas below it, or pods.
    pub fn check_deletion(&self, name: &str) -> Result<(), String> {
        if [names::ROOT_QUOTA, names::SYSTEM_QUOTA, names::DEFAULT_QUOTA].contains(&name) {
            return Err(format!("can not delete quotaGroup :{name}"));
        }
        if !self.quotas.contains_key(name) {
            return Err(format!("not found quota:{name}"));
        }
        let children = self.children(name).count();
        if children > 0 {
            return Err(format!("delete quota failed, quota {name} has {children} child quotas"));
        }
        let shown = match self.pods {
            [] => return Ok(()),
            [first, second, _, ..] => format!("{first}, {second}, ..."),
            few => few.join(", "),
        };
        Err(format!("delete quota failed, quota {name} has {} child pods: {shown}", self.pods.len()))
    }

    /// A namespace belongs to one quota.
    fn namespaces(&self, new: &QuotaWords) -> Result<(), String> {
        let name = &new.name;
        for namespace in &new.namespaces {
            let binds = |q: &&QuotaWords| q.name != *name && q.namespaces.contains(namespace);
            let Some(other) = self.quotas.values().find(binds).map(|q| &q.name) else { continue };
            // The misspelled word is upstream's.
            return Err(if self.quotas.contains_key(name) {
                format!(
                    "UpdadteQuota, quota {name} update namespaces, but namespace {namespace} is already bound to quota {other}"
                )
            } else {
                format!(
                    "AddQuota quota {name}'s annotation namespace {namespace} is already bound to quota {other}"
                )
            });
        }
        Ok(())
    }

    fn children(&self, name: &str) -> impl Iterator<Item = &'a QuotaWords> {
        let name = name.to_owned();
        self.quotas.values().filter(move |q| q.parent == name && q.name != names::ROOT_QUOTA)
    }

    fn above(&self, new: &QuotaWords) -> Option<&'a QuotaWords> {
        if new.parent == names::ROOT_QUOTA { None } else { self.quotas.get(&new.parent) }
    }

    fn parenthood(&self, new: &QuotaWords) -> Result<(), String> {
        let name = &new.name;
        let Some(old) = self.quotas.get(name).filter(|old| old.is_parent != new.is_parent) else {
            return Ok(());
        };
        if old.is_parent && self.children(name).next().is_some() {
            return Err(format!(
                "quota has children, isParent is forbidden to modify as false, quotaName:{name}"
            ));
        }
        if new.is_parent && !self.pods.is_empty() {
            return Err(format!(
                "quota has bound pods, isParent is forbidden to modify as true, quotaName: {name}"
            ));
        }
        Ok(())
    }

    fn trees(&self, new: &QuotaWords) -> Result<(), String> {
        let (name, tree) = (&new.name, &new.tree);
        if let Some(old) = self.quotas.get(name).filter(|old| old.tree != *tree) {
            return Err(format!("{name} tree id changed [{}] vs [{tree}]", old.tree));
        }
        if let Some(parent) = self.above(new).filter(|p| p.tree != *tree) {
            let (other, its) = (&parent.name, &parent.tree);
            return Err(format!("{name} tree id is different from parent {other}, [{tree}] vs [{its}]"));
        }
        if let Some(child) = self.children(name).find(|c| c.tree != *tree) {
            let (other, its) = (&child.name, &child.tree);
            return Err(format!("{name} tree id is different from child {other}, [{tree}] vs [{its}]"));
        }
        Ok(())
    }

    fn parent(&self, new: &QuotaWords) -> Result<(), String> {
        let (name, parent) = (&new.name, &new.parent);
        if parent == names::ROOT_QUOTA {
            return Ok(());
        }
        let Some(above) = self.quotas.get(parent) else {
            return Err(format!("{name} has parentName {parent} but not find parentInfo in quotaInfoMap"));
        };
        if above.is_parent {
            return Ok(());
        }
        Err(format!("{name} has parentName {parent} but the parentQuotaInfo's IsParent is false"))
    }

    /// Maxima of parent and child name the same resources; a child's minimum names none that its parent's does not.
    fn resources(&self, new: &QuotaWords) -> Result<(), String> {
        let pair = |parent: &QuotaWords, child: &QuotaWords, told: (&str, &str)| {
            if !parent.max.0.keys().eq(child.max.0.keys()) {
                let (first, second) = told;
                return Err(format!(
                    "checkSubAndParentGroupQuotaKey failed: {first}'s max keys are not the same with {second}'s"
                ));
            }
            if child.min.0.keys().all(|key| parent.min.0.contains_key(key)) {
                return Ok(());
            }
            let (first, second) = (&child.name, &parent.name);
            Err(format!(
                "checkSubAndParentGroupQuotaKey failed: {first}'s min keys are not all included in {second}'s"
            ))
        };
        if let Some(parent) = self.above(new) {
            pair(parent, new, (&parent.name, &new.name))?;
        }
        self.children(&new.name).try_for_each(|child| pair(new, child, (&child.name, &new.name)))
    }

    fn minima(&self, new: &QuotaWords) -> Result<(), String> {
        if new.force || new.is_root {
            return Ok(());
        }
        let sum = |quotas: &mut dyn Iterator<Item = &'a QuotaWords>| {
            let mut sum = Amounts::default();
            quotas.for_each(|q| sum.add(&q.min));
            sum
        };
        // A resource that the larger side does not name is zero there.
        let is_within =
            |small: &Amounts, large: &Amounts| small.0.iter().all(|(key, v)| *v <= large.get(key));
        if let Some(parent) = self.above(new) {
            let mut all = sum(&mut self.children(&parent.name).filter(|q| q.name != new.name));
            all.add(&new.min);
            if !is_within(&all, &parent.min) {
                let parent = &parent.name;
                return Err(format!(
                    "checkMinQuotaSum all brothers' MinQuota > parent MinQuota, parent: {parent}"
                ));
            }
        }
        if is_within(&sum(&mut self.children(&new.name)), &new.min) {
            return Ok(());
        }
        Err(format!("checkMinQuotaSum all children's MinQuota > current MinQuota, current: {}", new.name))
    }
}
