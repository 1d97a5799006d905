//! Lifecycle hooks: preStop before TERM, within the grace period; postStart right after the start.

use std::sync::Arc;
use std::time::Duration;

use api_core::{Container, Probe};
use node_core::NoteKind;
use serde_json::Value;
use stdx::Env;

use crate::events::Events;
use crate::probe::{self, Target};
use crate::runtime::PodRuntime;
use crate::worker::Worker;

/// Grace that is left to a container whose hook has used up all of it, as the kubelet leaves it.
const GRACE_MIN: Duration = Duration::from_secs(2);
/// Longest run of a postStart hook.
const POST_START_MAX: Duration = Duration::from_secs(60);

/// A hook of a container of a pod, ready to be run.
pub(crate) struct Hook<R> {
    runtime: Arc<R>,
    env: Env,
    events: Events,
    pod: Arc<api_core::Pod>,
    target: Target,
    sleep: Option<Duration>,
}

impl<R: PodRuntime> Hook<R> {
    /// The hook of this name (`preStop`, `postStart`), if the container has one.
    pub(crate) fn of(
        name: &str,
        runtime: &Arc<R>,
        env: &Env,
        events: &Events,
        worker: &Worker,
        container: &Container,
    ) -> Option<Hook<R>> {
        let action = container.lifecycle.as_ref()?.get(name).filter(|v| v.is_object())?;
        let probe: Probe = serde_json::from_value(action.clone()).unwrap_or_default();
        let target = Target {
            uid: worker.pod.metadata.uid.clone(),
            address: worker.address,
            container: container.clone(),
            probe,
            timeout: POST_START_MAX,
        };
        let (runtime, env, events) = (runtime.clone(), env.clone(), events.clone());
        Some(Hook { runtime, env, events, pod: worker.pod.clone(), target, sleep: sleep(action) })
    }

    /// Runs the hook for at most `grace`, then stops the container with what is left.
    pub(crate) async fn then_stop(mut self, grace: Duration) {
        let begun = self.env.now();
        self.target.timeout = grace;
        let done = match self.sleep {
            Some(length) => {
                self.env.sleep(length.min(grace)).await;
                Ok(())
            }
            None => probe::run(&*self.runtime, &self.target).await,
        };
        if let Err(why) = done {
            self.tell("FailedPreStopHook", &format!("PreStopHook failed: {why}"));
        }
        let left = grace.saturating_sub(self.env.now().since(begun)).max(GRACE_MIN.min(grace));
        self.runtime.stop(&self.target.uid, &self.target.container.name, left).await;
    }

    /// Runs the hook; when it fails the container is stopped.
    pub(crate) async fn after_start(self, grace: Duration) {
        let done = match self.sleep {
            Some(_) => Ok(()),
            None => probe::run(&*self.runtime, &self.target).await,
        };
        if let Err(why) = done {
            self.tell("FailedPostStartHook", &format!("PostStartHook failed: {why}"));
            self.runtime.stop(&self.target.uid, &self.target.container.name, grace).await;
        }
    }

    fn tell(&self, reason: &str, message: &str) {
        self.events.tell(&self.pod, NoteKind::Warning, reason, message, self.env.now());
    }
}

fn sleep(action: &Value) -> Option<Duration> {
    action["sleep"]["seconds"].as_u64().map(Duration::from_secs)
}
