//! One look at one key: observe, plan, ask for permits, hand out.

use std::panic::{AssertUnwindSafe, catch_unwind};

use api_meta::ObjectKey;
use reconcile::{Note, PermitRequest, Plan, Severity, Target, Verdict};
use stdx::Time;

use crate::host::{Done, Host, is_own_status};
use crate::pace::Pace;
use crate::tell;

/// What is left of a plan, why the rest is held, and the permits by the number of the action.
type Granted = (Plan, Option<Note>, Vec<(usize, PermitRequest)>);

impl Host {
    /// Looks at a key that was taken from its queue.
    pub(crate) fn look(&mut self, lane: usize, key: &ObjectKey) {
        let now = self.env.now();
        let row = &self.lanes[lane].row;
        let (controller, step) = (row.name, row.step);
        let span = tracing::debug_span!("reconcile", controller, namespace = key.namespace, name = key.name);
        let _inside = span.enter();
        let planned = catch_unwind(AssertUnwindSafe(|| step(&self.world, key, now)));
        match planned {
            Err(panic) => {
                let message = panic_message(&*panic);
                tracing::error!(message, "planner panicked; the key is tried again later");
                self.metrics.reconciled(controller, "panic", self.env.now().since(now));
                self.lanes[lane].queue.add_after_failure(key.clone(), now);
                self.lanes[lane].queue.done(key);
            }
            Ok(None) => self.forget(lane, key),
            Ok(Some(plan)) => self.planned(lane, key, plan, now),
        }
    }

    /// The object is gone: nothing is remembered about it.
    fn forget(&mut self, lane: usize, key: &ObjectKey) {
        let lane = &mut self.lanes[lane];
        self.world.set_failure(lane.row.name, key, None);
        self.world.set_held(lane.row.name, key, None, self.env.now());
        self.whys.clear(lane.row.name, key);
        lane.paces.remove(key);
        lane.queue.forget(key);
        lane.queue.done(key);
    }

    fn planned(&mut self, lane: usize, key: &ObjectKey, plan: Plan, now: Time) {
        let controller = self.lanes[lane].row.name;
        let about = self.about(lane, key);
        if let Some(at) = plan.wake {
            self.lanes[lane].queue.add_at(key.clone(), at);
        }
        let (plan, held, granted) = self.grant(lane, &about, plan, now);
        self.world.set_held(controller, key, held.as_ref().map(|h| h.message.as_str()), now);
        self.tell_planned(lane, key, &about, &plan, held);
        if plan.is_quiet() {
            self.metrics.reconciled(controller, "success", self.env.now().since(now));
            let lane = &mut self.lanes[lane];
            lane.paces.remove(key);
            if self.world.failure(controller, key).is_none() {
                lane.queue.forget(key);
            }
            return lane.queue.done(key);
        }
        if self.is_restless(lane, key, now) {
            for (_, request) in &granted {
                self.permit.settle(request, reconcile::Outcome::Undone, now);
            }
            return;
        }
        self.hand_out(lane, key.clone(), about, plan, granted);
    }

    /// Slows down a key whose plans never come to an end: a planner that undoes its own work, or two that fight.
    fn is_restless(&mut self, lane: usize, key: &ObjectKey, now: Time) -> bool {
        let lane = &mut self.lanes[lane];
        let pace = lane.paces.entry(key.clone()).or_insert_with(|| Pace::new(now));
        let Some(at) = pace.step(now) else { return false };
        lane.queue.add_at(key.clone(), at);
        lane.queue.done(key);
        true
    }

    /// The object that a key names, as far as it is known.
    fn about(&self, lane: usize, key: &ObjectKey) -> Target {
        let own = &self.mirrors[self.lanes[lane].feeds[0]].feed;
        let object = own.get(&self.world, key);
        let meta = object.as_ref().and_then(|o| own.meta(o));
        Target {
            resource: own.resource().clone(),
            key: key.clone(),
            uid: meta.map(|m| m.uid.clone()).unwrap_or_default(),
            revision: None,
        }
    }

    /// Cuts a plan at the first action that is not granted; the object's own status is written all the same. Gives back
    /// the permits by the number of the action.
    fn grant(&mut self, lane: usize, about: &Target, mut plan: Plan, now: Time) -> Granted {
        let mut held = None;
        let (mut kept, mut granted) = (Vec::new(), Vec::new());
        let mut cut = plan.actions.len();
        for (number, action) in std::mem::take(&mut plan.actions).into_iter().enumerate() {
            let request = PermitRequest::of(self.lanes[lane].row.name, &about.key.to_string(), &action);
            if let Some(request) = request.filter(|_| held.is_none()) {
                match self.ask(lane, &request, now) {
                    Verdict::Granted => granted.push((number, request)),
                    Verdict::Held { reason, retry_after } => {
                        self.metrics.held(self.lanes[lane].row.name);
                        self.lanes[lane].queue.add_at(about.key.clone(), now + retry_after);
                        held = Some(Note::new(Severity::Why, "Held", reason));
                        cut = number;
                    }
                }
            }
            if held.is_none() || is_own_status(&action, about) {
                kept.push(action);
            }
        }
        plan.actions = kept;
        // What was to be told after a cut action stays untold.
        plan.after.values_mut().filter(|action| **action >= cut).for_each(|action| *action = usize::MAX);
        (plan, held, granted)
    }

    fn ask(&mut self, lane: usize, request: &PermitRequest, now: Time) -> Verdict {
        let lane = &self.lanes[lane];
        for number in &lane.feeds {
            let collection = self.mirrors[*number].feed.resource().to_string();
            if let Some((reason, until)) = self.brake.holds(*number, &collection, now) {
                return Verdict::Held { reason, retry_after: until.since(now) };
            }
        }
        match self.permit.ask(request, Some(&self.world), now) {
            Verdict::Granted => {}
            held => return held,
        }
        let fused = self.fuse.ask(request.controller, request.risk, now);
        if fused != Verdict::Granted {
            self.permit.settle(request, reconcile::Outcome::Undone, now);
        }
        fused
    }

    /// Tells what is true whether or not the plan is carried out, once as long as it stays the same.
    fn tell_planned(
        &mut self,
        lane: usize,
        key: &ObjectKey,
        about: &Target,
        plan: &Plan,
        held: Option<Note>,
    ) {
        let controller = self.lanes[lane].row.name;
        let standing: Vec<Note> = plan
            .notes
            .iter()
            .enumerate()
            .filter(|(number, _)| !plan.after.contains_key(number))
            .map(|(_, note)| note.clone())
            .chain(held)
            .collect();
        let before = self.whys.replace(controller, key, standing.clone());
        for note in standing.iter().filter(|n| !before.contains(n)) {
            tell::note(&self.recorder, controller, about, note);
        }
    }

    /// Tells what has become true by a plan's actions.
    pub(crate) fn tell_done(&self, done: &Done) {
        let controller = self.lanes[done.lane].row.name;
        for (note, action) in &done.plan.after {
            if *action < done.outcome.done
                && let Some(note) = done.plan.notes.get(*note)
            {
                tell::note(&self.recorder, controller, &done.about, note);
            }
        }
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}
