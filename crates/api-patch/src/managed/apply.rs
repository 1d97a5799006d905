//! Server-side apply.

use serde_json::{Map, Value};

use super::conflict::Conflicts;
use super::entries::{self, Entry, Fields, Operation, Owner};
use super::update::{META, track, yield_changed};
use super::{Change, last_applied};
use crate::fieldset::FieldSet;
use crate::typed::{TypeFault, Walker};

/// What to do about fields that others own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnConflict {
    /// Refuse the apply and say which.
    Refuse,
    /// Take them over.
    Force,
}

/// Why an apply is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// Somebody else owns fields that would change: 409 with causes.
    #[error("{0}")]
    Conflicts(Conflicts),
    /// The request itself is wrong: 400.
    #[error("{0}")]
    BadRequest(String),
    /// The applied tree does not fit the schema; upstream answers 500 with these words.
    #[error("failed to create typed patch object ({object}): {faults}")]
    Untyped {
        /// `namespace/name; group/version, Kind=kind`.
        object: String,
        /// What does not fit, and where.
        faults: String,
    },
}

/// Lays `applied` over `live` in the name of the manager and returns the merged object with its `managedFields`. `live` is
/// `None` when the object does not exist yet. Fields that this manager applied before, applies no longer and nobody else
/// owns go. When nothing changes the result equals `live`, times included.
pub fn apply(
    change: &Change<'_>,
    live: Option<&Value>,
    applied: &Value,
    on_conflict: OnConflict,
) -> Result<Value, ApplyError> {
    let walker = Walker::new(change.types, change.root);
    check(change, &walker, applied)?;
    let mut managed = live.map(entries::of).unwrap_or_default();
    if managed.is_empty()
        && let Some(live) = live
    {
        let before = Change { manager: "before-first-apply", ..*change };
        track(&before, &walker, &walker.zero(), &bare(live), &mut managed);
    }
    let nothing = Value::Object(Map::new());
    let attempt = Attempt { change, walker: &walker, live: live.unwrap_or(&nothing), applied };
    let (mut result, managed) = match attempt.run(managed.clone(), on_conflict) {
        Ok(done) => done,
        Err(conflicts) => attempt.as_kubectl(managed, conflicts)?,
    };
    if change.manager == last_applied::KUBECTL {
        last_applied::sync(&mut result, applied);
    }
    entries::put(&mut result, managed);
    Ok(result)
}

fn check(change: &Change<'_>, walker: &Walker<'_>, applied: &Value) -> Result<(), ApplyError> {
    let text = |p: &str| applied.pointer(p).and_then(Value::as_str).unwrap_or_default();
    let version = text("/apiVersion");
    if version != change.api_version {
        return Err(ApplyError::BadRequest(format!(
            "Incorrect version specified in apply patch. Specified patch version: {version}, expected: {}",
            change.api_version
        )));
    }
    if applied.pointer("/metadata/managedFields").is_some_and(|m| !m.is_null()) {
        return Err(ApplyError::BadRequest("metadata.managedFields must be nil".to_owned()));
    }
    let faults = walker.check(applied);
    if faults.is_empty() {
        return Ok(());
    }
    let group_version = if version.contains('/') { version.to_owned() } else { format!("/{version}") };
    Err(ApplyError::Untyped {
        object: format!(
            "{}/{}; {group_version}, Kind={}",
            text("/metadata/namespace"),
            text("/metadata/name"),
            text("/kind")
        ),
        faults: list(&faults),
    })
}

fn list(faults: &[TypeFault]) -> String {
    match faults {
        [only] => only.to_string(),
        many => {
            let lines: String = many.iter().map(|f| format!("\n  {f}")).collect();
            format!("errors:{lines}")
        }
    }
}

/// The object without its entries.
fn bare(object: &Value) -> Value {
    let mut object = object.clone();
    entries::take(&mut object);
    object
}

struct Attempt<'a> {
    change: &'a Change<'a>,
    walker: &'a Walker<'a>,
    live: &'a Value,
    applied: &'a Value,
}

type Outcome = (Value, Vec<Entry>);

impl Attempt<'_> {
    fn run(&self, mut managed: Vec<Entry>, on_conflict: OnConflict) -> Result<Outcome, Refusal> {
        let owner = Owner::of(self.change, Operation::Apply);
        let at = managed.iter().position(|e| e.owner == owner);
        let last = at.map(|i| managed.remove(i));
        let set = self.walker.field_set(self.applied).recursive_difference(self.change.reset);
        let merged = self.merged();
        let merged = self.prune(merged, last.as_ref(), &set, &managed);
        let diff = self.walker.compare(self.live, &merged).without(self.change.reset);
        let (touched, removed) = diff.into_parts();
        if on_conflict == OnConflict::Refuse {
            refuse(&managed, &touched)?;
        }
        yield_changed(&touched, &removed, &mut managed);
        let own = set.difference(&META);
        let same = entries::same_apart(self.live, &merged);
        if !own.is_empty() {
            let time =
                if same { last.and_then(|e| e.time) } else { Some(self.change.now.to_string().into()) };
            let api_version = self.change.api_version.to_owned();
            managed.push(Entry { owner, api_version, time, fields: Fields::Set(own) });
        }
        Ok((merged, managed))
    }

    fn merged(&self) -> Value {
        let mut merged = self.walker.merge(self.live, self.applied);
        entries::take(&mut merged);
        merged
    }

    /// Removes what this manager owned, no longer applies, and nobody else owns.
    fn prune(&self, merged: Value, last: Option<&Entry>, set: &FieldSet, others: &[Entry]) -> Value {
        let Some(last) = last.map(|e| e.fields.set()).filter(|l| !l.difference(set).is_empty()) else {
            return merged;
        };
        let walker = self.walker;
        let fields = |v: &Value| walker.widen(&walker.field_set(v));
        let last = walker.widen(&last);
        let owned = others.iter().fold(set.clone(), |all, e| all.union(&e.fields.set()));
        let all = fields(&merged);
        let pruned = fields(&walker.remove(&merged, &last));
        // Put back what somebody still owns …
        let drop = all.difference(&pruned.union(&walker.widen(&owned)));
        let pruned = fields(&walker.remove(&merged, &drop));
        // … and what hung below a removed item but was never this manager's.
        walker.remove(&merged, &all.difference(&pruned).intersection(&last))
    }

    /// kubectl takes over, without force, what its client-side apply had set and nobody changed since.
    fn as_kubectl(&self, managed: Vec<Entry>, refusal: Refusal) -> Result<Outcome, ApplyError> {
        let refused = |conflicts| Err(ApplyError::Conflicts(conflicts));
        if self.change.manager != last_applied::KUBECTL {
            return refused(refusal.all());
        }
        let Some(allowed) = last_applied::owned(self.change, self.walker, self.live) else {
            return refused(refusal.all());
        };
        let rest = refusal.without(&allowed);
        if !rest.0.is_empty() {
            return refused(rest);
        }
        self.run(managed, OnConflict::Force).map_err(|r| ApplyError::Conflicts(r.all()))
    }
}

/// Conflicts with their owners, sorted by owner.
struct Refusal(Vec<(Owner, FieldSet)>);

impl Refusal {
    fn all(&self) -> Conflicts {
        self.without(&FieldSet::new())
    }

    fn without(&self, allowed: &FieldSet) -> Conflicts {
        let mut out = Conflicts::default();
        for (owner, fields) in &self.0 {
            out.add(owner, &fields.difference(allowed));
        }
        out
    }
}

fn refuse(others: &[Entry], touched: &FieldSet) -> Result<(), Refusal> {
    let mut found: Vec<(Owner, FieldSet)> = others
        .iter()
        .map(|e| (e.owner.clone(), e.fields.set().intersection(touched)))
        .filter(|(_, fields)| !fields.is_empty())
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    if found.is_empty() { Ok(()) } else { Err(Refusal(found)) }
}
