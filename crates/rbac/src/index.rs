//! The roles and bindings that exist, found by whom they are bound to.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, OnceLock};

use api_meta::LabelSelector;
use serde::{Deserialize, Serialize};

use crate::rule::{Rule, Who, list};

/// What a service account's user name begins with.
const ACCOUNT: &str = "system:serviceaccount:";

/// The four kinds of `rbac.authorization.k8s.io`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Rules for one namespace.
    Role,
    /// Rules for the cluster, or for a namespace whose binding names it.
    ClusterRole,
    /// Grants within one namespace.
    RoleBinding,
    /// Grants everywhere.
    ClusterRoleBinding,
}

/// Namespace (empty for the cluster) and name.
pub(crate) type Place = (String, String);

/// Which role a binding grants.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RoleRef {
    /// Always `rbac.authorization.k8s.io`.
    pub api_group: String,
    /// `Role` or `ClusterRole`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// Whom a binding grants to.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Subject {
    /// `User`, `Group` or `ServiceAccount`.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Of a service account; empty means that of the binding.
    pub namespace: String,
}

/// A ClusterRole that consists of others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Aggregation {
    /// Labels of the ClusterRoles whose rules it gathers; one selector is enough.
    #[serde(deserialize_with = "list")]
    pub cluster_role_selectors: Vec<LabelSelector>,
}

/// A role that a binding names and that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub struct Missing {
    /// `Role` or `ClusterRole`, or what the binding names instead.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// In upstream's words.
impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind.as_str() {
            "Role" | "ClusterRole" => {
                let kind = self.kind.to_lowercase();
                write!(f, "{kind}.rbac.authorization.k8s.io {:?} not found", self.name)
            }
            other => write!(f, "unsupported role reference kind: {other:?}"),
        }
    }
}

/// A stored object that cannot be read; it grants nothing.
#[derive(Debug, thiserror::Error)]
#[error("read {kind:?} {namespace}/{name}")]
pub struct Malformed {
    /// What it should be.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Why it cannot be read.
    #[source]
    pub source: serde_json::Error,
}

#[derive(Debug)]
struct Role {
    labels: BTreeMap<String, String>,
    own: Arc<[Rule]>,
    aggregation: Option<Aggregation>,
    /// Own and gathered rules of an aggregated role: found when first asked for, forgotten when any ClusterRole changes.
    whole: OnceLock<Arc<[Rule]>>,
}

#[derive(Debug)]
pub(crate) struct Binding {
    pub(crate) role: RoleRef,
    pub(crate) subjects: Vec<Subject>,
}

/// Bindings by namespace; empty for cluster-wide ones.
type Bound = BTreeMap<String, BTreeSet<String>>;

/// Roles and bindings, kept current by [`Index::put`] and [`Index::remove`].
#[derive(Debug, Default)]
pub struct Index {
    roles: BTreeMap<Place, Role>,
    bindings: BTreeMap<Place, Binding>,
    users: BTreeMap<String, Bound>,
    groups: BTreeMap<String, Bound>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RoleBody {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default, deserialize_with = "list")]
    rules: Vec<Rule>,
    aggregation_rule: Option<Aggregation>,
}

#[derive(Default, Deserialize)]
struct Metadata {
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BindingBody {
    role_ref: RoleRef,
    #[serde(default, deserialize_with = "list")]
    subjects: Vec<Subject>,
}

impl Subject {
    /// The user or group it stands for, within a binding of `namespace`.
    fn key(&self, namespace: &str) -> Option<(bool, String)> {
        match self.kind.as_str() {
            "User" => Some((false, self.name.clone())),
            "Group" => Some((true, self.name.clone())),
            "ServiceAccount" => {
                let home = if self.namespace.is_empty() { namespace } else { &self.namespace };
                (!home.is_empty()).then(|| (false, format!("{ACCOUNT}{home}:{}", self.name)))
            }
            _ => None,
        }
    }

    pub(crate) fn is(&self, who: Who<'_>, namespace: &str) -> bool {
        match self.key(namespace) {
            Some((true, group)) => who.groups.contains(&group),
            Some((false, user)) => who.name == user,
            None => false,
        }
    }
}

impl Index {
    /// Grants nothing yet.
    pub fn new() -> Index {
        Index::default()
    }

    /// An object as it is now stored: its JSON. `namespace` is empty for cluster-wide kinds.
    ///
    /// # Errors
    /// When it cannot be read; what it granted before is gone then.
    pub fn put(&mut self, kind: Kind, namespace: &str, name: &str, json: &[u8]) -> Result<(), Malformed> {
        self.remove(kind, namespace, name);
        let place = (namespace.to_owned(), name.to_owned());
        let malformed =
            |source| Malformed { kind, namespace: namespace.to_owned(), name: name.to_owned(), source };
        match kind {
            Kind::Role | Kind::ClusterRole => {
                let body: RoleBody = serde_json::from_slice(json).map_err(malformed)?;
                let role = Role {
                    labels: body.metadata.labels.unwrap_or_default(),
                    own: body.rules.into(),
                    // Roles of a namespace gather nothing.
                    aggregation: body.aggregation_rule.filter(|_| kind == Kind::ClusterRole),
                    whole: OnceLock::new(),
                };
                self.roles.insert(place, role);
            }
            Kind::RoleBinding | Kind::ClusterRoleBinding => {
                let body: BindingBody = serde_json::from_slice(json).map_err(malformed)?;
                let binding = Binding { role: body.role_ref, subjects: body.subjects };
                self.link(&place, &binding);
                self.bindings.insert(place, binding);
            }
        }
        Ok(())
    }

    /// An object that is gone.
    pub fn remove(&mut self, kind: Kind, namespace: &str, name: &str) {
        let place = (namespace.to_owned(), name.to_owned());
        match kind {
            Kind::Role => drop(self.roles.remove(&place)),
            Kind::ClusterRole => {
                self.roles.remove(&place);
                self.forget_gathered();
            }
            Kind::RoleBinding | Kind::ClusterRoleBinding => {
                if let Some(binding) = self.bindings.remove(&place) {
                    self.unlink(&place, &binding);
                }
            }
        }
    }

    /// The rules of the role that a binding of `namespace` names.
    ///
    /// # Errors
    /// When there is no such role.
    pub fn role(&self, role: &RoleRef, namespace: &str) -> Result<Arc<[Rule]>, Missing> {
        let home = match role.kind.as_str() {
            "ClusterRole" => Some(""),
            // A cluster-wide binding cannot grant a Role: validation refuses it.
            "Role" if !namespace.is_empty() => Some(namespace),
            _ => None,
        };
        let found = home.and_then(|home| self.roles.get(&(home.to_owned(), role.name.clone())));
        let Some(found) = found else {
            return Err(Missing { kind: role.kind.clone(), name: role.name.clone() });
        };
        Ok(self.whole(found))
    }

    /// The ClusterRoles that gather others, with the rules they gather: sorted by the names of where they come from, none
    /// twice. What their own objects should say, and say only once somebody has written it.
    pub fn aggregated(&self) -> Vec<(&str, Vec<Rule>)> {
        let roles = self.roles.iter().filter(|(_, role)| role.aggregation.is_some());
        roles.map(|((_, name), role)| (name.as_str(), self.gather(role))).collect()
    }

    /// Whether a ClusterRole's own rules are these.
    pub fn says(&self, name: &str, rules: &[Rule]) -> bool {
        self.roles.get(&(String::new(), name.to_owned())).is_some_and(|role| &*role.own == rules)
    }

    fn whole(&self, role: &Role) -> Arc<[Rule]> {
        if role.aggregation.is_none() {
            return role.own.clone();
        }
        let all = || {
            let mut all = role.own.to_vec();
            all.extend(self.gather(role).into_iter().filter(|rule| !role.own.contains(rule)));
            all.into()
        };
        role.whole.get_or_init(all).clone()
    }

    /// The rules of all roles that a role gathers, and that those gather in turn.
    fn gather(&self, role: &Role) -> Vec<Rule> {
        let mut found: BTreeMap<&str, &Role> = BTreeMap::new();
        let mut open = vec![role];
        while let Some(next) = open.pop() {
            for (name, other) in self.selected(next) {
                if found.insert(name, other).is_none() {
                    open.push(other);
                }
            }
        }
        let mut out = Vec::new();
        let sources = found.into_values().filter(|other| !std::ptr::eq(*other, role));
        // What a gathering role says itself was gathered before and may be out of date; its sources say it anew.
        for rule in sources.filter(|other| other.aggregation.is_none()).flat_map(|other| other.own.iter()) {
            if !out.contains(rule) {
                out.push(rule.clone());
            }
        }
        out
    }

    fn selected<'a>(&'a self, role: &Role) -> impl Iterator<Item = (&'a str, &'a Role)> {
        let selectors = role.aggregation.iter().flat_map(|a| &a.cluster_role_selectors);
        // A selector that cannot be read selects nothing.
        let selectors: Vec<_> = selectors.filter_map(|s| s.selector().ok()).collect();
        let of_cluster = self.roles.iter().take_while(|((namespace, _), _)| namespace.is_empty());
        of_cluster
            .filter(move |(_, other)| selectors.iter().any(|s| s.matches(&other.labels)))
            .map(|((_, name), other)| (name.as_str(), other))
    }

    fn forget_gathered(&mut self) {
        for role in self.roles.values_mut().filter(|role| role.aggregation.is_some()) {
            role.whole = OnceLock::new();
        }
    }

    /// The bindings of a user, the cluster's before the namespace's, each once, by name.
    pub(crate) fn bindings_of<'a>(
        &'a self,
        who: Who<'a>,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a Place, &'a Binding)> {
        let groups = who.groups.iter().filter_map(|g| self.groups.get(g));
        let bound: Vec<&Bound> = self.users.get(who.name).into_iter().chain(groups).collect();
        let homes = if namespace.is_empty() { vec![""] } else { vec!["", namespace] };
        homes.into_iter().flat_map(move |home| {
            let names: BTreeSet<&String> = bound.iter().filter_map(|b| b.get(home)).flatten().collect();
            names
                .into_iter()
                .filter_map(move |name| self.bindings.get_key_value(&(home.to_owned(), name.clone())))
        })
    }

    fn link(&mut self, place: &Place, binding: &Binding) {
        for (is_group, key) in binding.subjects.iter().filter_map(|s| s.key(&place.0)) {
            let map = if is_group { &mut self.groups } else { &mut self.users };
            map.entry(key).or_default().entry(place.0.clone()).or_default().insert(place.1.clone());
        }
    }

    fn unlink(&mut self, place: &Place, binding: &Binding) {
        for (is_group, key) in binding.subjects.iter().filter_map(|s| s.key(&place.0)) {
            let map = if is_group { &mut self.groups } else { &mut self.users };
            let Some(bound) = map.get_mut(&key) else { continue };
            if let Some(names) = bound.get_mut(&place.0) {
                names.remove(&place.1);
                if names.is_empty() {
                    bound.remove(&place.0);
                }
            }
            if bound.is_empty() {
                map.remove(&key);
            }
        }
    }
}
