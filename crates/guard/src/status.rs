//! The status of Guard/default: what is held, what is away.

use api_meta::ObjectKey;
use reconcile::{Action, Note, Permission, Plan, Severity, Target, Thinker, Watch, World};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use stdx::Time;

use crate::api::{BrakeStatus, DEFAULT, Guard, GuardStatus, Hold, validate};
use crate::census::Census;
use crate::judge::watches;
use crate::ledger::Ledger;
use crate::settings::Settings;

/// How often the status is brought up to date: what is held is no object whose change would be seen.
const EVERY: Duration = Duration::from_secs(5);
/// Holds that the status names; it counts them all.
const HOLDS_MAX: usize = 10;

/// Keeps the status of the Guard.
pub struct Statuses;

/// What the status tells.
pub struct Observed {
    guard: Arc<Guard>,
    settings: Option<Settings>,
    census: Census,
    held: usize,
    holds: Vec<Hold>,
}

impl Thinker for Statuses {
    type Primary = Guard;
    type Observed = Observed;
    const NAME: &'static str = "guard";

    fn watches() -> Vec<Watch> {
        let default = |_: &World, _: &crate::api::EmergencyPlan| vec![ObjectKey::new("", DEFAULT)];
        watches().into_iter().chain([Watch::mapped(default)]).collect()
    }

    fn permissions() -> Vec<Permission> {
        vec![
            Permission { group: "knarr.dev", resource: "guards/status", verbs: &["patch"] },
            Permission { group: "", resource: "events", verbs: &["create", "patch"] },
        ]
    }

    fn observe(world: &World, key: &ObjectKey) -> Option<Observed> {
        let guard = world.cache::<Guard>().get(key)?.clone();
        let mut all = world.held().map(|(controller, key, held)| Hold {
            controller: controller.to_owned(),
            object: key.to_string(),
            reason: held.reason.clone(),
            since: Some(held.since.whole_secs()),
        });
        let holds: Vec<Hold> = all.by_ref().take(HOLDS_MAX).collect();
        let held = holds.len() + all.count();
        // Whether a pod's trouble is its own needs the time, and the status tells of all that is away.
        let census = Census::of(world, &Ledger::default(), Time::default());
        Some(Observed { guard, settings: Settings::of(world), census, held, holds })
    }

    fn plan(seen: &Observed, now: Time) -> Plan {
        let mut plan = Plan::new();
        let status = status(seen, now);
        let is_default = seen.guard.metadata.name == DEFAULT;
        if is_default {
            plan.wake_at(now + EVERY);
        }
        if !status.trouble.is_empty() {
            plan.note(Note::new(Severity::Warning, "Invalid", status.trouble.clone()));
        }
        if status != seen.guard.status {
            plan.act(Action::status(Target::at(&*seen.guard), patch(&status)));
        }
        plan
    }
}

/// A merge patch in which what is absent is taken away.
fn patch(status: &GuardStatus) -> serde_json::Value {
    let cells: serde_json::Value = json!(status.cells);
    json!({
        "observedGeneration": status.observed_generation, "brake": status.brake, "plan": text(&status.plan),
        "trouble": text(&status.trouble), "held": status.held, "away": status.away,
        "holds": if status.holds.is_empty() { serde_json::Value::Null } else { json!(status.holds) },
        // A cell that is whole again must not stay behind.
        "cells": if status.cells.is_empty() { serde_json::Value::Null } else { cells },
    })
}

fn text(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn status(seen: &Observed, now: Time) -> GuardStatus {
    let guard = &seen.guard;
    let faults =
        validate(&json!({"kind": "Guard", "metadata": {"name": guard.metadata.name}, "spec": guard.spec}));
    let mut status = GuardStatus { observed_generation: guard.metadata.generation, ..GuardStatus::default() };
    status.trouble = faults.first().map(|c| format!("{}: {}", c.field, c.message)).unwrap_or_default();
    if guard.metadata.name != DEFAULT {
        return status;
    }
    let brake = seen.settings.as_ref().and_then(|s| s.brake.as_ref());
    status.brake = brake.map(|brake| {
        let known = guard.status.brake.as_ref().filter(|b| b.reason == brake.reason);
        let since = known.and_then(|b| b.since).unwrap_or(now.whole_secs());
        BrakeStatus { reason: brake.reason.clone(), by: guard.spec.brake.by.clone(), since: Some(since) }
    });
    status.plan = guard.spec.plan.clone();
    status.held = i32::try_from(seen.held).unwrap_or(i32::MAX);
    status.holds = seen.holds.clone();
    status.away = seen.census.cluster.away;
    let away = seen.census.cells.iter().filter(|(_, scope)| scope.away > 0);
    status.cells = away.map(|(name, scope)| (name.clone(), scope.away)).collect();
    status
}
