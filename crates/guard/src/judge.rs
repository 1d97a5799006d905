//! The permit: what every dangerous action is asked against, in this order.
//!
//! 1. Settings seen? 2. Operator's brake. 3. Does it disturb a pod that serves and is wanted? If not, it costs nothing.
//! 4. Disruption budgets. 5. Budget of the workload. 6. Of the cell. 7. Of the cluster. 8. Rates.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use api_core::{Node, Pod, PodDisruptionBudget, ReplicaSet, StatefulSet};
use api_meta::{IntOrPercent, Object, Round};
use api_workload::{CloneSet, InPlaceSet, PodUnavailableBudget};
use reconcile::{Fuse, Outcome, Permit, PermitRequest, Rates, Risk, Verdict, Watch, World};
use stdx::Time;

use crate::api;
use crate::budgets;
use crate::census::{self, Census, Scope, Workload};
use crate::ledger::Ledger;
use crate::settings::Settings;

/// When to ask again what waits for other pods; changes of the mirrors lead to a question earlier.
const SOON: Duration = Duration::from_secs(2);
/// When to ask again what waits for a person.
const LATER: Duration = Duration::from_secs(5);

/// How often grants that only time ends are looked at while nothing changes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The guard: a [`Permit`] that decides by budgets, rates and the operator's brake.
#[derive(Default)]
pub struct Guard(Mutex<Judge>);

#[derive(Default)]
struct Judge {
    ledger: Ledger,
    /// What was set when last looked; nothing before it was seen.
    settings: Option<Settings>,
    fuse: Option<(Rates, Fuse)>,
    /// When the ledger was last compared with the mirrors.
    looked: Option<Time>,
}

impl Guard {
    /// A guard that remembers nothing.
    pub fn new() -> Guard {
        Guard::default()
    }

    fn judge(&self) -> MutexGuard<'_, Judge> {
        // A planner's panic elsewhere leaves the ledger as it was: whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the guard reads.
pub(crate) fn watches() -> Vec<Watch> {
    vec![
        Watch::silent::<api::Guard>(),
        Watch::silent::<api::EmergencyPlan>(),
        Watch::silent::<Pod>(),
        Watch::silent::<Node>(),
        Watch::silent::<PodDisruptionBudget>(),
        Watch::silent::<PodUnavailableBudget>(),
        Watch::silent::<ReplicaSet>(),
        Watch::silent::<StatefulSet>(),
        Watch::silent::<CloneSet>(),
        Watch::silent::<InPlaceSet>(),
    ]
}

impl Permit for Guard {
    fn watches(&self) -> Vec<Watch> {
        watches()
    }

    fn ask(&self, request: &PermitRequest, world: Option<&World>, now: Time) -> Verdict {
        self.judge().ask(request, world, now)
    }

    fn observe(&self, world: &World, now: Time) {
        let mut judge = self.judge();
        judge.looked = None;
        judge.look(world, now);
    }

    fn settle(&self, request: &PermitRequest, outcome: Outcome, now: Time) {
        self.judge().ledger.settle(&request.target.uid, request.risk, outcome, now);
    }
}

impl Judge {
    fn ask(&mut self, request: &PermitRequest, world: Option<&World>, now: Time) -> Verdict {
        if request.risk == Risk::None {
            return Verdict::Granted;
        }
        if let Some(world) = world {
            if let Some(unseen) = unseen(world) {
                return held(
                    format!("the guard has not seen all {unseen} yet: nothing is disturbed before"),
                    SOON,
                );
            }
            self.look(world, now);
        }
        let Some(settings) = self.settings.clone() else {
            return held(
                "the guard has not read Guard/default yet: nothing is disturbed before".to_owned(),
                SOON,
            );
        };
        if let Some(brake) = settings.brake.as_ref().filter(|b| request.risk >= b.risk) {
            return held(brake.reason.clone(), LATER);
        }
        let pod = world.and_then(|w| pod(w, request));
        if let (Some(world), Some(pod)) = (world, pod)
            && let Some(reason) = self.refusal(world, pod, request.risk, &settings, now)
        {
            return held(reason, SOON);
        }
        if let Some(wait) = self.rate(request.risk, &settings, now) {
            return wait;
        }
        if let Some(pod) = pod {
            self.ledger.grant(&pod.metadata.uid, &pod.metadata.key(), request.risk, now);
        }
        Verdict::Granted
    }

    /// Compares the ledger with the mirrors. They change between two questions only when the host says so
    /// ([`Permit::observe`]); in between only time passes, so that a plan of a thousand removals is not a million looks.
    fn look(&mut self, world: &World, now: Time) {
        if self.looked.is_some_and(|at| now.since(at) < LOOK_EVERY) {
            return;
        }
        self.looked = Some(now);
        self.ledger.observe(world, now);
        self.settings = Settings::of(world);
    }

    /// Why a pod may not be disturbed now; nothing when it may.
    fn refusal(
        &self,
        world: &World,
        pod: &Pod,
        risk: Risk,
        settings: &Settings,
        now: Time,
    ) -> Option<String> {
        if !census::is_available(pod, &self.ledger) || census::has_lost_node(world, pod) {
            // It serves nobody, or its absence is already paid for.
            return None;
        }
        let is_limited =
            settings.workload().is_some() || settings.cluster().is_some() || settings.limits_cells();
        if !is_limited && !budgets::is_any(world, &pod.metadata.namespace) {
            return None;
        }
        let workload = census::workload(world, pod);
        if workload.as_ref().is_some_and(|w| self.is_surplus(world, w, now)) {
            return None;
        }
        if let Some(standing) = budgets::broken_by(world, pod, risk, &self.ledger, now) {
            return Some(standing.refusal());
        }
        self.over_workload(world, workload.as_ref(), settings, now)
            .or_else(|| self.over_scopes(world, pod, settings, now))
    }

    /// Whether a workload has more pods that serve than it wants: one less leaves all that
    /// were asked for.
    fn is_surplus(&self, world: &World, workload: &Workload, now: Time) -> bool {
        let count = census::count(world, &workload.uid, &self.ledger, now);
        workload.wanted.is_some_and(|wanted| count.available > wanted)
    }

    fn over_workload(
        &self,
        world: &World,
        workload: Option<&Workload>,
        settings: &Settings,
        now: Time,
    ) -> Option<String> {
        let (workload, limit) = (workload?, settings.workload()?);
        let count = census::count(world, &workload.uid, &self.ledger, now);
        let wanted = count.wanted(workload);
        let scope = Scope { pods: wanted, away: (wanted - count.available).max(0) };
        over(&workload.name, scope, limit, &settings.source)
    }

    fn over_scopes(&self, world: &World, pod: &Pod, settings: &Settings, now: Time) -> Option<String> {
        let cell = census::cell(world, pod);
        let cell = cell.and_then(|name| Some((name, settings.cell(name)?)));
        let cluster = settings.cluster();
        if cell.is_none() && cluster.is_none() {
            return None;
        }
        let census = Census::of(world, &self.ledger, now);
        let in_cell = cell.and_then(|(name, limit)| {
            let scope = census.cells.get(name).copied().unwrap_or_default();
            over(&format!("cell {name}"), scope, limit, &settings.source)
        });
        in_cell.or_else(|| over("the cluster", census.cluster, cluster?, &settings.source))
    }

    fn rate(&mut self, risk: Risk, settings: &Settings, now: Time) -> Option<Verdict> {
        let rates = settings.rates();
        if self.fuse.as_ref().is_none_or(|(known, _)| *known != rates) {
            self.fuse = Some((rates, Fuse::new(rates)));
        }
        let (_, fuse) = self.fuse.as_mut()?;
        match fuse.ask("guard", risk, now) {
            Verdict::Granted => None,
            Verdict::Held { retry_after, .. } => {
                let rate = match risk {
                    Risk::Restart => rates.restart,
                    Risk::RemovePod => rates.remove_pod,
                    Risk::None | Risk::Destroy => rates.destroy,
                };
                let reason = format!(
                    "{}: the rate of {} at once and {} per second for {} is used up",
                    settings.source,
                    rate.burst,
                    rate.per_second,
                    risk.name()
                );
                Some(held(reason, retry_after))
            }
        }
    }
}

fn held(reason: String, retry_after: Duration) -> Verdict {
    Verdict::Held { reason, retry_after }
}

/// Why one more pod of a scope may not go.
fn over(name: &str, scope: Scope, limit: IntOrPercent, source: &str) -> Option<String> {
    let most = limit.of(scope.pods, Round::Up).max(0);
    let Scope { pods, away } = scope;
    (away >= most).then(|| {
        format!(
            "{source}: {away} of {pods} pods of {name} are away and {most} may be (maxUnavailable: {limit}); waits until \
             one is back"
        )
    })
}

/// The pod that a request is about, as the mirror shows it; another of the same name is not it.
fn pod<'a>(world: &'a World, request: &PermitRequest) -> Option<&'a Pod> {
    let target = &request.target;
    if target.resource.plural != Pod::RESOURCE.plural || !target.resource.group.is_empty() {
        return None;
    }
    world.cache::<Pod>().get(&target.key).map(|p| &**p).filter(|p| p.metadata.uid == target.uid)
}

/// A collection that has not been seen whole.
fn unseen(world: &World) -> Option<String> {
    let unseen = |watch: &Watch| watch.feed().synced(world).is_none();
    watches().into_iter().find(unseen).map(|w| w.resource().to_string())
}
