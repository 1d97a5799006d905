//! Making room for a refused pod: who waits where, whom budgets protect, and whether the guard lets anybody go.
//!
//! The plan is `sched-plugins`'; here is what it must know (budgets, and what of them is spent and not seen yet), the question to
//! the permit point, and the words. Effects are `evictor`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use api_core::{Pod, PodDisruptionBudget};
use api_meta::{Object, ObjectKey};
use reconcile::{AllowAll, Outcome, Permit, PermitRequest, Risk, Target, Verdict};
use sched_core::{Nominations, PodFact, Preempting, Reason, Snapshot};
use sched_plugins::{Budget, Futile, Preemption};
use stdx::Time;

/// Who asks the permit point.
const CONTROLLER: &str = "scheduler";

/// What a budget is down to: nothing is kept of it that preemption does not read.
pub(crate) fn budget_of(pdb: &PodDisruptionBudget) -> Budget {
    // One that cannot be read protects nobody, as upstream has it.
    let selector = pdb.spec.selector.as_ref().and_then(|s| s.selector().ok());
    Budget {
        namespace: pdb.metadata.namespace.clone(),
        selector: selector.unwrap_or_default(),
        allowed: i64::from(pdb.status.disruptions_allowed),
        disrupted: pdb.status.disrupted_pods.keys().cloned().collect(),
    }
}

/// Room to be made for a pod.
#[derive(Clone, Debug)]
pub(crate) struct Eviction {
    /// For whom.
    pub(crate) preemptor: Arc<PodFact>,
    /// Where.
    pub(crate) node: Arc<str>,
    /// Who goes; nobody when all of them are going already.
    pub(crate) victims: Vec<Arc<PodFact>>,
    /// Who was not bound yet and has given its place back already.
    pub(crate) unbound: Vec<Arc<PodFact>>,
}

/// Why room is not made, and when to ask again if nothing happens.
pub(crate) struct Held {
    pub(crate) why: Reason,
    pub(crate) retry_after: Duration,
}

/// What preemption knows beside the snapshot.
pub(crate) struct Preemptor {
    pub(crate) nominations: Nominations,
    guard: Arc<dyn Permit>,
    budgets: BTreeMap<ObjectKey, Account>,
}

/// A budget as mirrored, and who was sent away on its account and does not show in it yet.
struct Account {
    budget: Budget,
    spent: BTreeSet<Arc<str>>,
}

impl Default for Preemptor {
    fn default() -> Preemptor {
        Preemptor::new(Arc::new(AllowAll))
    }
}

impl Preemptor {
    /// One that asks this permit point.
    pub(crate) fn new(guard: Arc<dyn Permit>) -> Preemptor {
        Preemptor { nominations: Nominations::none(), guard, budgets: BTreeMap::new() }
    }

    /// A budget came or changed. Whoever is seen going by now shows in its count.
    pub(crate) fn set_budget(&mut self, key: ObjectKey, budget: Budget, snapshot: &Snapshot) {
        let account = self
            .budgets
            .entry(key)
            .or_insert_with(|| Account { budget: budget.clone(), spent: BTreeSet::new() });
        let stays = |uid: &Arc<str>| {
            let place = snapshot.place_of(uid);
            place.is_some_and(|(node, _)| node.facts().any(|p| p.uid == *uid && !p.terminating))
        };
        account.budget = budget;
        account.spent.retain(stays);
    }

    /// A budget went.
    pub(crate) fn drop_budget(&mut self, key: &ObjectKey) {
        self.budgets.remove(key);
    }

    /// The budgets with what is left of them.
    pub(crate) fn budgets(&self) -> Vec<Budget> {
        let left = |a: &Account| {
            let spent = i64::try_from(a.spent.len()).unwrap_or(i64::MAX);
            Budget { allowed: a.budget.allowed.saturating_sub(spent), ..a.budget.clone() }
        };
        self.budgets.values().map(left).collect()
    }

    /// Asks whether all the victims may go; none goes unless all may.
    pub(crate) fn ask(&mut self, pod: &PodFact, plan: &Preemption, now: Time) -> Result<(), Held> {
        let workload = pod.key().to_string();
        let mut granted = Vec::new();
        for victim in plan.victims.iter().filter(|v| !v.terminating) {
            let request = request(victim, &workload);
            match self.guard.ask(&request, None, now) {
                Verdict::Granted => granted.push(request),
                Verdict::Held { reason, retry_after } => {
                    granted.iter().for_each(|r| self.guard.settle(r, Outcome::Undone, now));
                    let why = format!("held back, pod {} stays: {reason}.", victim.key());
                    return Err(Held { why: Reason::Made(why.into()), retry_after });
                }
            }
        }
        for victim in plan.victims.iter().filter(|v| !v.terminating) {
            for account in self.budgets.values_mut().filter(|a| a.budget.protects(victim)) {
                account.spent.insert(victim.uid.clone());
            }
        }
        Ok(())
    }

    /// What became of the attempt to send a victim away.
    pub(crate) fn settle(&mut self, victim: &PodFact, preemptor: &PodFact, outcome: Outcome, now: Time) {
        self.guard.settle(&request(victim, &preemptor.key().to_string()), outcome, now);
        if outcome == Outcome::Undone {
            for account in self.budgets.values_mut() {
                account.spent.remove(&victim.uid);
            }
        }
    }

    /// The pods of lower priority that wait for the node: they wait for it no more.
    pub(crate) fn displace(&mut self, pod: &PodFact, node: &str) -> Vec<Arc<PodFact>> {
        let lower = |p: &&Arc<PodFact>| p.demand.priority < pod.demand.priority;
        let displaced: Vec<Arc<PodFact>> = self.nominations.on(node).filter(lower).cloned().collect();
        for pod in &displaced {
            self.nominations.remove(&pod.uid);
        }
        displaced
    }
}

fn request(victim: &PodFact, workload: &str) -> PermitRequest {
    PermitRequest {
        controller: CONTROLLER,
        risk: Risk::RemovePod,
        target: Target {
            resource: Pod::RESOURCE,
            key: victim.key(),
            uid: victim.uid.to_string(),
            revision: None,
        },
        namespace: victim.kin.namespace.clone(),
        workload: workload.to_owned(),
    }
}

/// What is said of a pod for which no room is made.
pub(crate) fn words(futile: Futile) -> Preempting {
    match futile {
        // The refusal says so itself.
        Futile::Never => Preempting::Silent,
        Futile::Underway => {
            Preempting::Not(Reason::Fixed("not eligible due to a terminating pod on the nominated node."))
        }
        Futile::Nowhere(reasons) => Preempting::Futile(reasons),
    }
}
