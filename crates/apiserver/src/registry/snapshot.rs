//! All resources at one moment, and the cell that holds the current moment.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::Served;

/// All resources at one moment.
#[derive(Clone, Default)]
pub struct Snapshot {
    groups: BTreeMap<String, BTreeMap<String, BTreeMap<String, Arc<Served>>>>,
    order: Vec<Group>,
    /// Counts changes of the registry; documents built from a snapshot may be kept under it.
    pub generation: u64,
}

/// An API group in discovery order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Name; empty for the core group.
    pub name: String,
    /// Versions, the preferred one first.
    pub versions: Vec<String>,
    /// Defined by custom resources alone.
    pub is_custom: bool,
}

impl Snapshot {
    /// A resource by group, version and plural.
    pub fn get(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Served>> {
        self.groups.get(group)?.get(version)?.get(plural)
    }

    /// A resource by group and plural in its preferred version.
    pub fn preferred(&self, group: &str, plural: &str) -> Option<&Arc<Served>> {
        let versions = &self.order.iter().find(|g| g.name == group)?.versions;
        versions.iter().find_map(|v| self.get(group, v, plural))
    }

    /// A resource by `apiVersion` and kind.
    pub fn by_kind(&self, api_version: &str, kind: &str) -> Option<&Arc<Served>> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        self.groups.get(group)?.get(version)?.values().find(|s| s.resource.kind == kind)
    }

    /// Groups in discovery order: built-ins as compiled in, then custom ones by name.
    pub fn groups(&self) -> &[Group] {
        &self.order
    }

    /// Whether a group is served.
    pub fn has_group(&self, group: &str) -> bool {
        self.groups.contains_key(group)
    }

    /// Whether a version of a group is served.
    pub fn has_version(&self, group: &str, version: &str) -> bool {
        self.groups.get(group).is_some_and(|g| g.contains_key(version))
    }

    /// Resources of one version by plural.
    pub fn resources(&self, group: &str, version: &str) -> impl Iterator<Item = &Arc<Served>> {
        self.groups.get(group).and_then(|g| g.get(version)).into_iter().flat_map(BTreeMap::values)
    }

    /// Every resource in every version, by group, version and plural.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Served>> {
        self.groups.values().flat_map(BTreeMap::values).flat_map(BTreeMap::values)
    }

    /// Adds a resource, or replaces the one of the same name.
    pub fn put(&mut self, served: Served) {
        let r = &served.resource;
        let (group, version, plural) = (r.group.to_string(), r.version.to_string(), r.plural.to_string());
        self.enter(&group, &version, served.is_custom());
        self.groups.entry(group).or_default().entry(version).or_default().insert(plural, Arc::new(served));
    }

    /// Removes a resource in all versions; gives what was removed.
    pub fn remove(&mut self, group: &str, plural: &str) -> Vec<Arc<Served>> {
        let Some(versions) = self.groups.get_mut(group) else { return Vec::new() };
        let removed = versions.values_mut().filter_map(|resources| resources.remove(plural)).collect();
        versions.retain(|_, resources| !resources.is_empty());
        let left: Vec<String> = versions.keys().cloned().collect();
        if left.is_empty() {
            self.groups.remove(group);
            self.order.retain(|g| g.name != group);
        } else if let Some(entry) = self.order.iter_mut().find(|g| g.name == group) {
            entry.versions.retain(|v| left.contains(v));
        }
        removed
    }

    fn enter(&mut self, group: &str, version: &str, is_custom: bool) {
        let at = match self.order.iter().position(|g| g.name == group) {
            Some(at) => at,
            None => {
                let at = if is_custom {
                    let later = |g: &Group| g.is_custom && g.name.as_str() > group;
                    self.order.iter().position(later).unwrap_or(self.order.len())
                } else {
                    self.order.iter().position(|g| g.is_custom).unwrap_or(self.order.len())
                };
                self.order.insert(at, Group { name: group.to_owned(), versions: Vec::new(), is_custom });
                at
            }
        };
        let versions = &mut self.order[at].versions;
        if !versions.iter().any(|v| v == version) {
            versions.push(version.to_owned());
            versions.sort_by(|a, b| rank(b).cmp(&rank(a)).then_with(|| a.cmp(b)));
        }
    }
}

/// Kubernetes' order of versions: general ones, then beta, then alpha, each newest first; other names last.
pub(crate) fn rank(version: &str) -> (u8, u64, u64) {
    let parsed = || {
        let rest = version.strip_prefix('v')?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let major = rest[..digits].parse().ok()?;
        match &rest[digits..] {
            "" => Some((3, major, 0)),
            tail => {
                let (grade, minor) = match tail.strip_prefix("beta") {
                    Some(minor) => (2, minor),
                    None => (1, tail.strip_prefix("alpha")?),
                };
                Some((grade, major, minor.parse().ok()?))
            }
        }
    };
    parsed().unwrap_or((0, 0, 0))
}

/// The current snapshot; cheap to read, swapped whole.
#[derive(Default)]
pub struct Registry {
    current: RwLock<Arc<Snapshot>>,
}

impl Registry {
    /// A registry that starts with these resources.
    pub fn new(served: impl IntoIterator<Item = Served>) -> Registry {
        let mut snapshot = Snapshot::default();
        for one in served {
            snapshot.put(one);
        }
        Registry { current: RwLock::new(Arc::new(snapshot)) }
    }

    /// What is served now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes what is served: `change` edits a copy that is then swapped in. Changes follow one another.
    pub fn change(&self, change: impl FnOnce(&mut Snapshot)) -> Arc<Snapshot> {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = Snapshot::clone(&current);
        change(&mut next);
        next.generation += 1;
        *current = Arc::new(next);
        current.clone()
    }
}

#[cfg(test)]
mod tests {
    use api_meta::Resource;

    use super::*;

    fn served(group: &'static str, version: &'static str) -> Served {
        Served::plain(Resource::namespaced(group, version, "things", "Thing"))
    }

    #[test]
    fn versions_come_newest_and_most_stable_first() {
        let all = ["v1alpha1", "v1", "v2beta1", "v2", "v1beta2", "strange"].map(|v| served("a", v));
        let snapshot = Registry::new(all).snapshot();
        assert_eq!(snapshot.groups()[0].versions, ["v2", "v1", "v2beta1", "v1beta2", "v1alpha1", "strange"]);
    }

    #[test]
    fn a_snapshot_does_not_see_later_changes() {
        let registry = Registry::new([served("a", "v1")]);
        let before = registry.snapshot();
        registry.change(|s| drop(s.remove("a", "things")));
        assert!(before.get("a", "v1", "things").is_some());
        assert!(!registry.snapshot().has_group("a"));
    }
}
