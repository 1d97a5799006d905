//! What the operator has set: Guard/default, and the emergency plan that it names, in one.

use api_meta::{IntOrPercent, ObjectKey};
use reconcile::{Rates, Risk, World};

use crate::api::{Away, BrakeSpec, DEFAULT, EmergencyPlan, Guard, Limits, RateLimits};

/// The settings in force.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Why dangerous actions are held altogether.
    pub brake: Option<Brake>,
    /// Budgets and rates.
    pub limits: Limits,
    /// The object that a person would change: `Guard/default` or `EmergencyPlan/NAME`.
    pub source: String,
}

/// A brake that is on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brake {
    /// The least risk that it holds.
    pub risk: Risk,
    /// Why, and what to do, in the user's words.
    pub reason: String,
}

impl Settings {
    /// The settings as the mirrors show them; nothing before they have shown them all: what is not seen may forbid.
    pub fn of(world: &World) -> Option<Settings> {
        let (guards, plans) = (world.cache::<Guard>(), world.cache::<EmergencyPlan>());
        guards.synced()?;
        plans.synced()?;
        let Some(guard) = guards.get(&ObjectKey::new("", DEFAULT)) else {
            return Some(Settings::default());
        };
        let spec = &guard.spec;
        let own = Settings {
            brake: brake(&spec.brake, "Guard/default"),
            limits: spec.limits.clone(),
            source: "Guard/default".to_owned(),
        };
        if spec.plan.is_empty() {
            return Some(own);
        }
        Some(match plans.get(&ObjectKey::new("", &*spec.plan)) {
            Some(plan) => own.under(plan),
            None => Settings { brake: Some(missing(&spec.plan)), ..own },
        })
    }

    /// The same with what a plan sets in its place. A brake that the Guard has on stays on.
    fn under(self, plan: &EmergencyPlan) -> Settings {
        let source = format!("EmergencyPlan/{}", plan.metadata.name);
        let (own, new) = (self.limits, plan.spec.limits.clone());
        let mut cells = own.cells;
        cells.extend(new.cells);
        let limits = Limits {
            cluster: new.cluster.or(own.cluster),
            cell: new.cell.or(own.cell),
            cells,
            workload: new.workload.or(own.workload),
            rates: RateLimits {
                restart: new.rates.restart.or(own.rates.restart),
                remove_pod: new.rates.remove_pod.or(own.rates.remove_pod),
                destroy: new.rates.destroy.or(own.rates.destroy),
            },
        };
        let planned = plan.spec.brake.as_ref().and_then(|b| brake(b, &source));
        Settings { brake: self.brake.or(planned), limits, source }
    }

    /// The budget of a cell.
    pub fn cell(&self, cell: &str) -> Option<IntOrPercent> {
        let away = self.limits.cells.get(cell).or(self.limits.cell.as_ref());
        away.and_then(|a| a.max_unavailable)
    }

    /// Whether any cell has a budget.
    pub(crate) fn limits_cells(&self) -> bool {
        self.limits.cell.is_some() || !self.limits.cells.is_empty()
    }

    /// The budget of the cluster.
    pub fn cluster(&self) -> Option<IntOrPercent> {
        self.limits.cluster.and_then(|a: Away| a.max_unavailable)
    }

    /// The budget of a workload.
    pub fn workload(&self) -> Option<IntOrPercent> {
        self.limits.workload.and_then(|a: Away| a.max_unavailable)
    }

    /// The rates, with what is not limited at its greatest.
    pub fn rates(&self) -> Rates {
        let free = reconcile::Rate { burst: u32::MAX, per_second: u32::MAX };
        let rates = &self.limits.rates;
        Rates {
            restart: rates.restart.map_or(free, Into::into),
            remove_pod: rates.remove_pod.map_or(free, Into::into),
            destroy: rates.destroy.map_or(free, Into::into),
        }
    }
}

fn brake(spec: &BrakeSpec, source: &str) -> Option<Brake> {
    if !spec.on {
        return None;
    }
    let by = if spec.by.is_empty() { String::new() } else { format!(" by {}", spec.by) };
    let why = if spec.reason.is_empty() { String::new() } else { format!(": {}", spec.reason) };
    let risk = spec.risk.map_or(Risk::Restart, Risk::from);
    let reason = format!("the brake of {source} was put on{by}{why}; `knarr brake off` lets go");
    Some(Brake { risk, reason })
}

/// A plan that is named and not there was meant to restrict: the careful reading is that everything waits.
fn missing(plan: &str) -> Brake {
    let reason = format!(
        "Guard/default names EmergencyPlan/{plan}, which does not exist: create it, or clear spec.plan of Guard/default"
    );
    Brake { risk: Risk::Restart, reason }
}
