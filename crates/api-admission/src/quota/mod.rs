//! ResourceQuota: what an object costs, which quotas count it, and whether they have that much left.
//!
//! ```text
//! object ──cost──> amounts ─┐
//! quota ──counts?──scopes───┴──charge──> new status.used, or why not
//! ```
//!
//! A quota acts by its status alone, as upstream: what nobody has counted yet holds nobody back.

mod cost;
mod scope;

use serde_json::{Map, Value};
use stdx::Time;

use crate::Operation;
use crate::amount::{self, Amount, Amounts};
use crate::pod::{list, text};

pub use cost::cost;

/// An object that is counted.
#[derive(Clone, Copy, Debug)]
pub struct Counted<'a> {
    /// Its collection as quotas name it: `pods`, `deployments.apps`.
    pub resource: &'a str,
    /// The object in its stored version.
    pub object: &'a Value,
}

/// What is to be charged.
#[derive(Clone, Copy, Debug)]
pub struct Charge<'a> {
    /// The object as it will be.
    pub new: Counted<'a>,
    /// The object as it is, when it changes.
    pub old: Option<&'a Value>,
    /// The moment; pods that should be gone cost nothing but their place in the store.
    pub now: Time,
}

/// Whether quotas look at an operation at all.
pub fn counts(resource: &str, subresource: &str, operation: Operation) -> bool {
    matches!(
        (resource, subresource, operation),
        (_, "", Operation::Create)
            | ("services" | "persistentvolumeclaims", "", Operation::Update)
            | ("pods", "resize", Operation::Update)
    )
}

/// Resources that every container must state when a quota counts them.
const STATED: [&str; 6] = ["cpu", "limits.cpu", "limits.memory", "memory", "requests.cpu", "requests.memory"];

/// The amounts that a quota holds after a charge; nothing when it is not concerned.
///
/// # Errors
/// Why the charge is refused, in upstream's words.
pub fn charge(quota: &Value, charge: &Charge<'_>) -> Result<Option<Map<String, Value>>, String> {
    let name = text(&quota["metadata"], "name");
    let hard = amount::read(&quota["status"]["hard"]);
    let used = amount::read(&quota["status"]["used"]);
    let counted: Vec<&str> =
        hard.keys().map(String::as_str).filter(|r| cost::is_of(charge.new.resource, r)).collect();
    if counted.is_empty() || !scope::matches_all(quota, &charge.new) {
        return Ok(None);
    }
    if charge.new.resource == "pods" {
        stated(charge.new.object, &counted).map_err(|why| format!("failed quota: {name}: {why}"))?;
    }
    if counted.iter().any(|r| !used.contains_key(*r)) {
        let names = counted.join(",");
        return Err(format!("status unknown for quota: {name}, resources: {names}"));
    }
    let delta = delta(charge)?;
    let asked: Amounts = delta.into_iter().filter(|(r, _)| hard.contains_key(r)).collect();
    if asked.is_empty() {
        return Ok(None);
    }
    let mut after = used.clone();
    amount::add(&mut after, &asked);
    let exceeded: Vec<&String> = asked.keys().filter(|r| after[*r] > hard[*r]).collect();
    if !exceeded.is_empty() {
        let shown = |of: &Amounts| {
            let all = exceeded.iter().map(|r| format!("{r}={}", of.get(*r).copied().unwrap_or(Amount::ZERO)));
            all.collect::<Vec<_>>().join(",")
        };
        let (asked, used, hard) = (shown(&asked), shown(&used), shown(&hard));
        return Err(format!("exceeded quota: {name}, requested: {asked}, used: {used}, limited: {hard}"));
    }
    Ok(Some(tree(&after)))
}

/// What remains used when something that was charged is not there after all.
pub fn give_back(quota: &Value, charge: &Charge<'_>) -> Option<Map<String, Value>> {
    let hard = amount::read(&quota["status"]["hard"]);
    let mut used = amount::read(&quota["status"]["used"]);
    if !scope::matches_all(quota, &charge.new) {
        return None;
    }
    let delta = delta(charge).ok()?;
    let mut is_changed = false;
    for (name, amount) in delta.iter().filter(|(name, _)| hard.contains_key(*name)) {
        if let Some(of) = used.get_mut(name) {
            *of = of.minus(*amount).max(Amount::ZERO);
            is_changed = true;
        }
    }
    is_changed.then(|| tree(&used))
}

/// What a change costs more than what was there; without zeros.
fn delta(charge: &Charge<'_>) -> Result<Amounts, String> {
    let mut delta = cost(charge.new, charge.now);
    let negative: Vec<&str> = delta.iter().filter(|(_, a)| a.milli() < 0).map(|(n, _)| n.as_str()).collect();
    if !negative.is_empty() {
        return Err(format!("quota usage is negative for resource(s): {}", negative.join(",")));
    }
    if let Some(old) = charge.old {
        for (name, amount) in cost(Counted { object: old, ..charge.new }, charge.now) {
            let before = delta.get(&name).copied().unwrap_or(Amount::ZERO);
            delta.insert(name, before.minus(amount));
        }
    }
    delta.retain(|_, amount| !amount.is_zero());
    Ok(delta)
}

/// What a quota's status says of a namespace with these objects: `spec.hard`, and what of it is used.
///
/// What a quota limits and no object costs is used up to zero.
pub fn recount<'a>(quota: &Value, objects: impl Iterator<Item = Counted<'a>>, now: Time) -> (Value, Value) {
    let hard = amount::read(&quota["spec"]["hard"]);
    let mut used: Amounts = hard.keys().map(|name| (name.clone(), Amount::ZERO)).collect();
    for counted in objects {
        let concerns = hard.keys().any(|r| cost::is_of(counted.resource, r));
        if !concerns || !scope::matches_all(quota, &counted) {
            continue;
        }
        let mut own = cost(counted, now);
        own.retain(|name, _| hard.contains_key(name));
        amount::add(&mut used, &own);
    }
    (quota["spec"]["hard"].clone(), Value::Object(tree(&used)))
}

/// Collections that a quota counts, by the names of what it limits: `pods`, `services`, `persistentvolumeclaims`, or `plural.group`.
pub fn resources(quota: &Value) -> Vec<String> {
    let hard = quota["spec"]["hard"].as_object().into_iter().flatten();
    let mut out: Vec<String> = hard.map(|(name, _)| cost::resource_of(name)).collect();
    out.sort();
    out.dedup();
    out
}

fn tree(amounts: &Amounts) -> Map<String, Value> {
    amounts.iter().map(|(name, amount)| (name.clone(), Value::String(amount.to_string()))).collect()
}

/// Every container must state what a quota counts of it.
fn stated(pod: &Value, counted: &[&str]) -> Result<(), String> {
    let required: Vec<&str> = STATED.into_iter().filter(|r| counted.contains(r)).collect();
    let mut missing = Vec::new();
    for resource in required {
        if cost::states(&pod["spec"]["resources"], resource) {
            continue;
        }
        let containers = list(&pod["spec"], "containers").chain(list(&pod["spec"], "initContainers"));
        let without = containers.filter(|c| !cost::states(&c["resources"], resource));
        let mut names: Vec<&str> = without.map(|c| text(c, "name")).collect();
        names.sort_unstable();
        names.dedup();
        if !names.is_empty() {
            missing.push(format!("{resource} for: {}", names.join(",")));
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(format!("must specify {}", missing.join("; "))) }
}

#[cfg(test)]
mod tests;
