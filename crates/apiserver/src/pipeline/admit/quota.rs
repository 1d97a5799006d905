//! ResourceQuota: what is created is charged first, by a conditional write of the quota's status; so a quota is never exceeded,
//! however many create at once. What is charged and then not created is given back.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use api_admission::Operation;
use api_admission::quota::{self, Charge, Counted};
use serde_json::Value;
use store::KeyRange;
use tokio::sync::Semaphore;

use super::protect;
use crate::pipeline::metadata;
use crate::refuse::{Outcome, forbidden, method_not_allowed};
use crate::registry::Served;
use crate::server::Call;
use crate::stored;
use crate::verbs::{Change, Retry, change};

const QUOTAS: &str = "resourcequotas";
/// Who writes a quota's status.
const MANAGER: &str = "kube-apiserver";
/// Turnstiles; namespaces share them by hash.
const TURNSTILES: u64 = 64;

/// Lets writers of a quota through one by one. Conditional writes alone keep the count right; without this, a crowd that creates in
/// one namespace would try most of them many times over.
pub(crate) struct Turnstiles(Vec<Semaphore>);

impl Default for Turnstiles {
    fn default() -> Turnstiles {
        Turnstiles((0..TURNSTILES).map(|_| Semaphore::new(1)).collect())
    }
}

impl Turnstiles {
    fn of(&self, namespace: &str) -> &Semaphore {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(namespace);
        let at = usize::try_from(hash % TURNSTILES).expect("less than the number of turnstiles");
        &self.0[at]
    }
}

/// What quotas were charged for one write.
#[derive(Debug, Default)]
pub(crate) struct Charged {
    quotas: Vec<String>,
    resource: String,
    new: Value,
    old: Option<Value>,
}

impl Charged {
    fn charge(&self, call: &Call) -> Charge<'_> {
        let new = Counted { resource: &self.resource, object: &self.new };
        Charge { new, old: self.old.as_ref(), now: call.server.env.now() }
    }

    /// Gives back what was charged: the write did not happen. What cannot be given back stays charged until the next recount.
    pub(crate) async fn give_back(self, call: &Call) {
        for name in &self.quotas {
            let back = update(call, name, |quota| Ok(quota::give_back(quota, &self.charge(call))));
            if let Err(refusal) = back.await {
                tracing::warn!(quota = %name, why = %refusal.status, "a charge is not given back before the next recount");
            }
        }
    }
}

/// Charges the quotas of a namespace for an object that is to be written.
///
/// # Errors
/// When one of them has not that much left; nothing is charged then.
pub(super) async fn charge(
    call: &Call,
    served: &Served,
    subresource: &str,
    new: &Value,
    old: Option<&Value>,
    dry_run: bool,
) -> Outcome<Charged> {
    let resource = &*served.storage_key;
    let operation = if old.is_some() { Operation::Update } else { Operation::Create };
    let namespace = call.namespace(served);
    if namespace.is_empty() || !quota::counts(resource, subresource, operation) {
        return Ok(Charged::default());
    }
    let range = KeyRange { resource: QUOTAS.into(), namespace: Some(namespace.into()) };
    if call.server.store.count(&range) == 0 {
        return Ok(Charged::default());
    }
    let mut charged =
        Charged { quotas: Vec::new(), resource: resource.to_owned(), new: new.clone(), old: old.cloned() };
    let refused = |why: String| forbidden(&served.resource, metadata::text(new, "name"), &why);
    let mut due = Vec::new();
    for stored in protect::list(&call.server, QUOTAS, Some(namespace))? {
        let quota = stored::decode(&stored)?;
        if quota::charge(&quota, &charged.charge(call)).map_err(refused)?.is_some() {
            due.push(metadata::text(&quota, "name").to_owned());
        }
    }
    if dry_run || due.is_empty() {
        return Ok(charged);
    }
    for name in due {
        let done =
            update(call, &name, |quota| quota::charge(quota, &charged.charge(call)).map_err(refused)).await;
        match done {
            Ok(()) => charged.quotas.push(name),
            // Deleted since: it does not count any more.
            Err(refusal) if refusal.status.code == 404 => {}
            Err(refusal) => {
                charged.give_back(call).await;
                return Err(refusal);
            }
        }
    }
    Ok(charged)
}

/// Changes what a quota holds, on condition, as often as somebody else is first.
async fn update(
    call: &Call,
    name: &str,
    mut used: impl FnMut(&Value) -> Outcome<Option<serde_json::Map<String, Value>>> + Send,
) -> Outcome<()> {
    let quotas = call.snapshot.get("", "v1", QUOTAS).ok_or_else(method_not_allowed)?;
    let namespace = &call.target.namespace;
    let _turn = call.server.turnstiles.of(namespace).acquire().await;
    let how = Change {
        name,
        subresource: "status",
        manager: MANAGER,
        retry: Retry::Again,
        dry_run: false,
        uid: None,
    };
    let changed = change(call, quotas, how, |old| {
        let mut new = old.clone();
        metadata::of(&mut new).remove("resourceVersion");
        if let Some(used) = used(old)? {
            new["status"]["used"] = Value::Object(used);
        }
        Ok(new)
    });
    // A change of a quota is a change within a change: never of what quotas count, so it goes no deeper.
    Box::pin(changed).await.map(drop)
}
