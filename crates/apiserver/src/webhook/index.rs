//! The configurations of webhooks, kept read.
//!
//! Whoever commits a configuration has the index read anew before it answers, so the next write meets what was acknowledged.

use std::sync::{Arc, PoisonError, RwLock};

use api_admission::hooks::{self, Hook};
use base64::Engine as _;
use bytes::Bytes;
use store::{KeyRange, Store};

use super::reach::Target;
use crate::cel::Conditions;
use crate::cel::env::WEBHOOK;
use crate::stored;

/// Where configurations rest in the store.
const MUTATING: &str = "mutatingwebhookconfigurations.admissionregistration.k8s.io";
const VALIDATING: &str = "validatingwebhookconfigurations.admissionregistration.k8s.io";

/// Whether a change of such objects changes the index.
pub(crate) fn is_configuration(resource: &str) -> bool {
    resource == MUTATING || resource == VALIDATING
}

/// A hook that can be called.
pub(super) struct Prepared {
    /// What it wants.
    pub(super) hook: Hook,
    /// Its match conditions, compiled.
    conditions: Conditions,
    /// Where it is; none for what validation refuses.
    pub(super) target: Option<Target>,
    /// Whom to trust, in PEM.
    pub(super) bundle: Bytes,
}

impl Prepared {
    /// What it wants, with its conditions.
    pub(super) fn wish(&self) -> (&Hook, &Conditions) {
        (&self.hook, &self.conditions)
    }
}

/// All hooks at one moment, by name of the configuration, then in its order.
#[derive(Default)]
pub(super) struct Hooks {
    pub(super) mutating: Vec<Prepared>,
    pub(super) validating: Vec<Prepared>,
}

/// The current hooks; cheap to read, swapped whole.
#[derive(Default)]
pub(crate) struct Index(RwLock<Arc<Hooks>>);

impl Index {
    pub(super) fn current(&self) -> Arc<Hooks> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether there are no hooks at all.
    pub(crate) fn is_empty(&self) -> bool {
        let hooks = self.0.read().unwrap_or_else(PoisonError::into_inner);
        hooks.mutating.is_empty() && hooks.validating.is_empty()
    }

    /// Reads all configurations. Readings follow one another, so the last one that is kept saw the newest of them.
    pub(crate) fn read(&self, store: &Store) {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(Hooks { mutating: all(store, MUTATING), validating: all(store, VALIDATING) });
    }
}

fn all(store: &Store, resource: &str) -> Vec<Prepared> {
    let range = KeyRange { resource: resource.into(), namespace: None };
    // The store lists by name. What cannot be read was damaged on disk, which the store itself tells of.
    let page = store.list(&range, None, None, 0, None);
    let items = page.map(|p| p.items).unwrap_or_default();
    let configurations = items.iter().filter_map(|s| stored::decode(s).ok());
    configurations.flat_map(|c| hooks::read(&c)).map(prepare).collect()
}

fn prepare(hook: Hook) -> Prepared {
    let bundle = hook.client["caBundle"].as_str().unwrap_or_default();
    let bundle = base64::engine::general_purpose::STANDARD.decode(bundle).unwrap_or_default();
    let conditions = Conditions::compile(hook.conditions.iter().map(|c| c.expression.as_str()), WEBHOOK);
    Prepared { target: Target::read(&hook.client), bundle: bundle.into(), conditions, hook }
}
