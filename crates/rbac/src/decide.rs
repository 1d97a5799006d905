//! Decisions: which binding allows a request, and everything a user holds.

use std::fmt;

use crate::index::{Binding, Index, Missing, Place};
use crate::rule::{Ask, Rule, Who};

/// The verdict on a request.
#[derive(Debug)]
pub enum Verdict<'a> {
    /// Allowed, by this binding.
    Allowed(Grant<'a>),
    /// Nothing allows it. The roles that bindings of this user name and that do not exist: they may be why.
    Refused(Vec<Missing>),
}

/// A binding that allows a request. Shown in upstream's words: `RoleBinding "b/ns" of Role "r" to User "viewer"`.
#[derive(Debug)]
pub struct Grant<'a> {
    place: &'a Place,
    binding: &'a Binding,
    who: Who<'a>,
}

/// What a user may do in a namespace and everywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// The rules of all roles bound to the user, in the order of bindings; none twice.
    pub rules: Vec<Rule>,
    /// Roles that are bound to the user and do not exist.
    pub missing: Vec<Missing>,
}

impl Index {
    /// Whether the bindings of a user allow a request: those of the whole cluster, and those of the namespace asked for.
    pub fn authorize<'a>(&'a self, who: Who<'a>, ask: &Ask<'a>) -> Verdict<'a> {
        let mut missing = Vec::new();
        for (place, binding) in self.bindings_of(who, ask.namespace) {
            match self.role(&binding.role, &place.0) {
                Ok(rules) if rules.iter().any(|rule| rule.allows(ask)) => {
                    return Verdict::Allowed(Grant { place, binding, who });
                }
                Err(role) if !missing.contains(&role) => missing.push(role),
                Ok(_) | Err(_) => {}
            }
        }
        Verdict::Refused(missing)
    }

    /// Everything the bindings of a user grant, in a namespace (empty: cluster-wide bindings only).
    pub fn rules(&self, who: Who<'_>, namespace: &str) -> Held {
        let mut held = Held::default();
        for (place, binding) in self.bindings_of(who, namespace) {
            match self.role(&binding.role, &place.0) {
                Ok(rules) => {
                    for rule in rules.iter() {
                        if !held.rules.contains(rule) {
                            held.rules.push(rule.clone());
                        }
                    }
                }
                Err(role) if held.missing.contains(&role) => {}
                Err(role) => held.missing.push(role),
            }
        }
        held
    }
}

impl Verdict<'_> {
    /// Whether the request is allowed.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Verdict::Allowed(_))
    }
}

/// The reason in upstream's words; empty when there is nothing to say.
impl fmt::Display for Verdict<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Allowed(grant) => write!(f, "RBAC: allowed by {grant}"),
            Verdict::Refused(missing) => match missing.as_slice() {
                [] => Ok(()),
                [one] => write!(f, "RBAC: {one}"),
                several => {
                    let texts: Vec<String> = several.iter().map(Missing::to_string).collect();
                    write!(f, "RBAC: [{}]", texts.join(", "))
                }
            },
        }
    }
}

impl fmt::Display for Grant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (namespace, name) = (&*self.place.0, &*self.place.1);
        let role = &self.binding.role;
        match namespace {
            "" => write!(f, "ClusterRoleBinding {name:?}")?,
            ns => write!(f, "RoleBinding {:?}", format!("{name}/{ns}"))?,
        }
        write!(f, " of {} {:?}", role.kind, role.name)?;
        // A binding is found by one of its subjects, so there is one.
        let Some(subject) = self.binding.subjects.iter().find(|s| s.is(self.who, namespace)) else {
            return Ok(());
        };
        match subject.kind.as_str() {
            "ServiceAccount" => {
                let home = if subject.namespace.is_empty() { namespace } else { &subject.namespace };
                write!(f, " to ServiceAccount {:?}", format!("{}/{home}", subject.name))
            }
            kind => write!(f, " to {kind} {:?}", subject.name),
        }
    }
}
