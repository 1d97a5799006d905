//! The authorizer of a server with roles: `system:masters`, rows of own components, then roles and bindings in the store.
//!
//! The index follows the store when it is asked, not behind its back: who was granted something may do it with their very
//! next request, and what nobody asks for costs nothing.

use std::sync::{PoisonError, RwLock};

use rbac::{Ask, Index, Kind, Verdict, Who};
use store::{Cursor, Error, KeyRange, Store};

use super::TableAuthorizer;
use crate::who::{Attributes, Authorizer, Decision, Rule, User};

/// Where roles and bindings rest.
const RESOURCES: [(Kind, &str); 4] = [
    (Kind::ClusterRole, "clusterroles.rbac.authorization.k8s.io"),
    (Kind::ClusterRoleBinding, "clusterrolebindings.rbac.authorization.k8s.io"),
    (Kind::Role, "roles.rbac.authorization.k8s.io"),
    (Kind::RoleBinding, "rolebindings.rbac.authorization.k8s.io"),
];

/// Decides by roles and bindings of a store, and by a table beside them.
pub struct Rbac {
    store: Store,
    table: TableAuthorizer,
    seen: RwLock<Seen>,
}

#[derive(Default)]
struct Seen {
    index: Index,
    cursors: Vec<(Kind, Cursor)>,
}

impl Rbac {
    /// Follows the roles and bindings of `store`; `table` are the rows of components that need none.
    pub fn new(store: Store, table: TableAuthorizer) -> Rbac {
        Rbac { store, table, seen: RwLock::default() }
    }

    /// Asks the index as of now.
    fn ask<T>(&self, question: impl FnOnce(&Index) -> T) -> T {
        {
            let seen = self.seen.read().unwrap_or_else(PoisonError::into_inner);
            if !seen.cursors.is_empty() && !seen.cursors.iter().any(|(_, cursor)| cursor.has_news()) {
                return question(&seen.index);
            }
        }
        let mut seen = self.seen.write().unwrap_or_else(PoisonError::into_inner);
        seen.follow(&self.store);
        question(&seen.index)
    }
}

impl Seen {
    /// Takes in what was written since the last look; begins anew when that is not known any more.
    fn follow(&mut self, store: &Store) {
        if self.cursors.is_empty() {
            return self.begin(store);
        }
        for at in 0..self.cursors.len() {
            if self.drain(at).is_err() {
                return self.begin(store);
            }
        }
    }

    fn drain(&mut self, at: usize) -> Result<(), Error> {
        let (kind, cursor) = &mut self.cursors[at];
        loop {
            let events = cursor.try_next()?;
            if events.is_empty() {
                return Ok(());
            }
            for event in events {
                let key = &event.after.key;
                if event.is_delete {
                    self.index.remove(*kind, &key.namespace, &key.name);
                } else {
                    put(&mut self.index, *kind, &event.after);
                }
            }
        }
    }

    fn begin(&mut self, store: &Store) {
        *self = Seen::default();
        for (kind, resource) in RESOURCES {
            let range = KeyRange { resource: resource.into(), namespace: None };
            let Ok(page) = store.list(&range, None, None, 0, None) else { continue };
            page.items.iter().for_each(|stored| put(&mut self.index, kind, stored));
            // Without its cursor the next question begins anew.
            let Ok(cursor) = store.watch(range, page.revision) else { return self.cursors.clear() };
            self.cursors.push((kind, cursor));
        }
        // A look, so that only what comes later is news.
        for at in 0..self.cursors.len() {
            if self.drain(at).is_err() {
                return self.cursors.clear();
            }
        }
    }
}

/// An object that cannot be read grants nothing, which is the safe side; it is told of.
fn put(index: &mut Index, kind: Kind, stored: &store::Stored) {
    let key = &stored.key;
    let read = match stored.body.unpack() {
        Ok(plain) => index.put(kind, &key.namespace, &key.name, &plain).map_err(|e| e.to_string()),
        Err(damaged) => {
            index.remove(kind, &key.namespace, &key.name);
            Err(damaged.to_string())
        }
    };
    if let Err(why) = read {
        tracing::warn!(%why, "a role or binding grants nothing");
    }
}

fn who(user: &User) -> Who<'_> {
    Who { name: &user.name, groups: &user.groups }
}

fn asked<'a>(what: &Attributes<'a>) -> Ask<'a> {
    Ask {
        verb: what.verb,
        group: what.group,
        resource: what.resource,
        subresource: what.subresource,
        namespace: what.namespace,
        name: what.name,
        path: what.path,
    }
}

impl Authorizer for Rbac {
    fn authorize(&self, user: &User, what: &Attributes<'_>) -> Decision {
        let is_listed = || !what.resource.is_empty() && self.table.is_listed(user, what);
        if user.is_in("system:masters") || is_listed() {
            return Decision::Allow;
        }
        self.ask(|index| match index.authorize(who(user), &asked(what)) {
            Verdict::Allowed(_) => Decision::Allow,
            refused => Decision::Deny(refused.to_string()),
        })
    }

    fn rules(&self, user: &User) -> Vec<Rule> {
        self.table.rows(user).to_vec()
    }

    fn reason(&self, user: &User, what: &Attributes<'_>) -> String {
        if user.is_in("system:masters") || self.table.is_listed(user, what) {
            return String::new();
        }
        self.ask(|index| index.authorize(who(user), &asked(what)).to_string())
    }

    fn held(&self, user: &User, namespace: &str) -> rbac::Held {
        let mut held = self.ask(|index| index.rules(who(user), namespace));
        held.rules.extend(self.table.rows(user).iter().cloned().map(rbac::Rule::from));
        held
    }

    fn role(&self, role: &rbac::RoleRef, namespace: &str) -> Option<Vec<rbac::Rule>> {
        self.ask(|index| index.role(role, namespace).ok().map(|rules| rules.to_vec()))
    }
}
