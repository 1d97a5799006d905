//! Pods that hold a place and are not bound yet: at permit, or for their volumes.

use std::sync::Arc;

use sched_core::{Hints, Reason};
use stdx::Time;

use super::{Bind, Core, Outcome};
use crate::steps::{Call, Stay};
use crate::storage::{self, State, Versions};

impl Core {
    /// Takes what the pod needs of storage on its node; pods without claims need nothing.
    pub(super) fn set_volumes_aside(&mut self, bind: &mut Bind) {
        if bind.pod.claims().is_empty() {
            return;
        }
        let plan = sched_plugins::volume_plan(&self.snapshot, &bind.pod, &bind.placement.node);
        bind.volumes = plan.expect("the decision found them in this very state");
        self.snapshot.assume_volumes(&bind.volumes);
    }

    /// Bind, once the volumes are bound.
    pub(super) fn go(&mut self, bind: Bind, now: Time) {
        if bind.volumes.is_empty() {
            return self.outcomes.push_back(Outcome::Bind(bind));
        }
        let (pod, plan) = (bind.pod.clone(), bind.volumes.clone());
        let waiting = storage::Waiting::new(bind, now);
        self.deadlines.insert((waiting.until, pod.uid.clone()));
        self.storage.insert(pod.uid.clone(), waiting);
        self.outcomes.push_back(Outcome::Volumes(pod, plan));
    }

    /// Claims and volumes of a pod have been written, or could not be.
    pub(crate) fn volumes_written(&mut self, uid: &Arc<str>, written: Result<Versions, String>, now: Time) {
        let Some(waiting) = self.storage.get_mut(uid) else { return };
        match written {
            Ok(versions) => waiting.set_written(versions),
            Err(why) => self.fail_storage(uid, &why, now),
        }
        self.look_at_storage(now);
    }

    /// Lets pods go whose volumes are bound by now, and those back whose volumes will not be.
    pub(super) fn look_at_storage(&mut self, now: Time) {
        if self.storage.is_empty() {
            return;
        }
        let states: Vec<(Arc<str>, State)> =
            self.storage.iter().map(|(uid, w)| (uid.clone(), w.state(&self.snapshot))).collect();
        for (uid, state) in states {
            match state {
                State::Waits => {}
                State::Ready => {
                    let ready = self.unlist(&uid).map(Outcome::Bind);
                    self.outcomes.extend(ready);
                }
                State::Failed(why) => self.fail_storage(&uid, &why, now),
            }
        }
    }

    pub(super) fn fail_storage(&mut self, uid: &Arc<str>, why: &str, now: Time) {
        let Some(bind) = self.unlist(uid) else { return };
        self.unbound(&bind, now);
        let why = format!("running PreBind plugin \"VolumeBinding\": binding volumes: {why}");
        self.outcomes.push_back(Outcome::Failed(bind.pod, why));
    }

    /// Carries out what the phases want done to other pods, until they want nothing more.
    pub(crate) fn answer_calls(&mut self, now: Time) {
        loop {
            let calls = self.steps.calls(now);
            if calls.is_empty() {
                return;
            }
            for call in calls {
                self.answer(call, now);
            }
        }
    }

    pub(super) fn answer(&mut self, call: Call, now: Time) {
        match call {
            Call::Release(uid) => {
                if self.waiting.contains_key(&uid)
                    && let Some(bind) = self.unlist(&uid)
                {
                    self.go(bind, now);
                }
            }
            Call::GiveBack(uid, stay) => {
                if let Some(bind) = self.unlist(&uid) {
                    self.give_back(bind, stay, now);
                }
            }
            Call::Try(uid) => self.queue.activate(&uid, now),
        }
    }

    /// Gives back the room of pods that have waited at permit long enough.
    pub(crate) fn end_waits(&mut self, now: Time) {
        // Whoever set the deadline says it better.
        self.answer_calls(now);
        while let Some((_, uid)) = self.deadlines.first().filter(|(until, _)| *until <= now).cloned() {
            if self.storage.contains_key(&uid) {
                self.fail_storage(&uid, "context deadline exceeded", now);
                continue;
            }
            let Some(bind) = self.unlist(&uid) else { continue };
            let wake = Hints::NODE_ADDED | Hints::POD_REMOVED | Hints::POD_CHANGED;
            let reason = Reason::Fixed("rejected due to timeout while waiting on permit");
            self.give_back(bind, Stay { reason, wake }, now);
        }
        self.answer_calls(now);
    }

    pub(super) fn unlist(&mut self, uid: &Arc<str>) -> Option<Bind> {
        let waiting = self.waiting.remove(uid);
        let (bind, until) = waiting.or_else(|| self.storage.remove(uid).map(|w| (w.bind, w.until)))?;
        self.deadlines.remove(&(until, uid.clone()));
        Some(bind)
    }

    /// The pod waits at permit no more because it is gone, or placed by somebody else: what it reserved is given back.
    pub(super) fn stop_waiting(&mut self, uid: &Arc<str>) {
        if let Some(bind) = self.unlist(uid) {
            self.unreserve(&bind);
        }
    }
}
