//! Bugs put in on purpose: each bends what a planner sees, and leaves its code as it is.

use std::marker::PhantomData;
use std::sync::Arc;

use api_core::{Pod, drain};
use api_meta::ObjectKey;
use api_workload::names::cafe as words;
use reconcile::{Permission, Plan, Row, Thinker, Watch, World};
use stdx::Time;
use workloads::set;

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CafePlant {
    /// Sets change and delete pods without waiting for their traffic.
    SkippedDrain,
    /// Sets take every container for one that runs the new image: gates open too early.
    EarlyGate,
    /// Sets take every gate for closed: pods are changed in service.
    NoGate,
    /// The release counts sick pods as available.
    SickAvailable,
    /// The release counts pods that their traffic has not come back to as available.
    ForgottenTraffic,
    /// Going back, the release forgets the minimum of cells.
    ForgottenMinimum,
    /// Every group counts as confirmed.
    ConfirmedTwice,
    /// Nobody is asked to confirm.
    NeverAsked,
    /// The release does not see that a version fails.
    BlindToFailure,
    /// A set forgets how many pods keep the old revision.
    ForgottenPartition,
    /// A traffic component takes its finalizer off while requests are open.
    HastyTraffic,
}

/// The controllers, with the bug where it belongs.
pub(crate) fn rows(plant: Option<CafePlant>) -> Vec<Row> {
    let mut rows = builtins::rows();
    rows.extend(workloads::rows());
    rows.extend(release::rows());
    let bent: Vec<Row> = match plant {
        None | Some(CafePlant::HastyTraffic) => Vec::new(),
        Some(CafePlant::SkippedDrain) => sets::<SkippedDrain>(),
        Some(CafePlant::EarlyGate) => sets::<EarlyGate>(),
        Some(CafePlant::NoGate) => sets::<NoGate>(),
        Some(CafePlant::ForgottenPartition) => sets::<ForgottenPartition>(),
        Some(CafePlant::SickAvailable) => vec![Row::of::<BentCafe<SickAvailable>>()],
        Some(CafePlant::ForgottenTraffic) => vec![Row::of::<BentCafe<ForgottenTraffic>>()],
        Some(CafePlant::ForgottenMinimum) => vec![Row::of::<BentCafe<ForgottenMinimum>>()],
        Some(CafePlant::ConfirmedTwice) => vec![Row::of::<BentCafe<ConfirmedTwice>>()],
        Some(CafePlant::NeverAsked) => vec![Row::of::<BentCafe<NeverAsked>>()],
        Some(CafePlant::BlindToFailure) => vec![Row::of::<BentCafe<BlindToFailure>>()],
    };
    for row in bent {
        rows.retain(|r| r.name != row.name);
        rows.push(row);
    }
    rows
}

fn sets<B: BendSet>() -> Vec<Row> {
    vec![
        Row::of::<BentSet<workloads::inplaceset::Controller, B>>(),
        Row::of::<BentSet<workloads::cloneset::Controller, B>>(),
    ]
}

/// Bends what a set sees.
trait BendSet: 'static {
    fn bend(seen: &mut set::Observed);
}

/// Bends what a release sees.
trait BendCafe: 'static {
    fn bend(seen: &mut release::cafe::Observed);
}

struct BentSet<T, B>(PhantomData<(T, B)>);

impl<T: Thinker<Observed = set::Observed>, B: BendSet> Thinker for BentSet<T, B> {
    type Primary = T::Primary;
    type Observed = set::Observed;
    const NAME: &'static str = T::NAME;

    fn watches() -> Vec<Watch> {
        T::watches()
    }

    fn permissions() -> Vec<Permission> {
        T::permissions()
    }

    fn observe(world: &World, key: &ObjectKey) -> Option<set::Observed> {
        let mut seen = T::observe(world, key)?;
        B::bend(&mut seen);
        Some(seen)
    }

    fn plan(seen: &set::Observed, now: Time) -> Plan {
        T::plan(seen, now)
    }
}

struct BentCafe<B>(PhantomData<B>);

impl<B: BendCafe> Thinker for BentCafe<B> {
    type Primary = <release::cafe::Controller as Thinker>::Primary;
    type Observed = release::cafe::Observed;
    const NAME: &'static str = release::cafe::Controller::NAME;

    fn watches() -> Vec<Watch> {
        release::cafe::Controller::watches()
    }

    fn permissions() -> Vec<Permission> {
        release::cafe::Controller::permissions()
    }

    fn observe(world: &World, key: &ObjectKey) -> Option<release::cafe::Observed> {
        let mut seen = release::cafe::Controller::observe(world, key)?;
        B::bend(&mut seen);
        Some(seen)
    }

    fn plan(seen: &release::cafe::Observed, now: Time) -> Plan {
        release::cafe::Controller::plan(seen, now)
    }
}

fn pods(seen: &mut set::Observed, bend: impl Fn(&mut Pod)) {
    for pod in &mut seen.pods {
        bend(Arc::make_mut(pod));
    }
}

fn cafe_pods(seen: &mut release::cafe::Observed, bend: impl Fn(&mut Pod)) {
    for pod in &mut seen.pods {
        bend(Arc::make_mut(&mut pod.pod));
    }
}

struct SkippedDrain;

impl BendSet for SkippedDrain {
    fn bend(seen: &mut set::Observed) {
        pods(seen, |pod| pod.metadata.finalizers.retain(|f| !f.starts_with(drain::PROTECTION)));
    }
}

struct EarlyGate;

impl BendSet for EarlyGate {
    fn bend(seen: &mut set::Observed) {
        pods(seen, |pod| {
            let wanted = pod.spec.containers.first().map(|c| c.image.clone()).unwrap_or_default();
            for status in &mut pod.status.container_statuses {
                status.image.clone_from(&wanted);
                status.image_id = format!("seen:{wanted}");
                status.container_id = format!("seen:{wanted}");
                status.ready = true;
            }
        });
    }
}

struct NoGate;

impl BendSet for NoGate {
    fn bend(seen: &mut set::Observed) {
        pods(seen, |pod| {
            for condition in &mut pod.status.conditions {
                if condition.r#type == drain::INPLACE_READY {
                    condition.status = "False".to_owned();
                    condition.reason = workload_kit::gate::STARTED.to_owned();
                }
            }
            pod.metadata.finalizers.retain(|f| !f.starts_with(drain::PROTECTION));
        });
    }
}

struct ForgottenPartition;

impl BendSet for ForgottenPartition {
    fn bend(seen: &mut set::Observed) {
        if let Ok(spec) = &mut seen.spec {
            spec.update_strategy.rolling_update.partition = None;
        }
    }
}

fn make_ready(pod: &mut Pod) {
    for condition in &mut pod.status.conditions {
        condition.status = "True".to_owned();
    }
    pod.status.phase = "Running".to_owned();
    for status in &mut pod.status.container_statuses {
        status.ready = true;
    }
}

struct SickAvailable;

impl BendCafe for SickAvailable {
    fn bend(seen: &mut release::cafe::Observed) {
        cafe_pods(seen, make_ready);
    }
}

struct ForgottenTraffic;

impl BendCafe for ForgottenTraffic {
    fn bend(seen: &mut release::cafe::Observed) {
        cafe_pods(seen, |pod| {
            pod.metadata.annotations.remove(drain::AVAILABLE_CONDITIONS);
        });
    }
}

struct ForgottenMinimum;

impl BendCafe for ForgottenMinimum {
    fn bend(seen: &mut release::cafe::Observed) {
        if seen.cafe.status.release.as_ref().is_some_and(|r| r.rollback) {
            Arc::make_mut(&mut seen.cafe).metadata.annotations.remove(words::CELL_MIN_AVAILABLE);
        }
    }
}

struct ConfirmedTwice;

impl BendCafe for ConfirmedTwice {
    fn bend(seen: &mut release::cafe::Observed) {
        let cafe = Arc::make_mut(&mut seen.cafe);
        cafe.metadata.annotations.insert(words::CONFIRMED.to_owned(), "true".to_owned());
    }
}

struct NeverAsked;

impl BendCafe for NeverAsked {
    fn bend(seen: &mut release::cafe::Observed) {
        if let Ok(spec) = &mut seen.spec {
            spec.strategy.need_waiting_for_confirm = false;
        }
    }
}

struct BlindToFailure;

impl BendCafe for BlindToFailure {
    fn bend(seen: &mut release::cafe::Observed) {
        cafe_pods(seen, |pod| {
            for status in &mut pod.status.container_statuses {
                status.state.waiting = None;
                status.restart_count = 0;
            }
        });
    }
}
