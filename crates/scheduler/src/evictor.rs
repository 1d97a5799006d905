//! Sending pods away for a more important one: the condition that says why, then the deletion, with the pod's own grace.

use std::collections::VecDeque;
use std::time::Duration;

use api_client::{Class, Client, DeleteOptions, Error, Patch, WriteOptions};
use api_core::Pod;
use api_meta::Object;
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use reconcile::Outcome;
use sched_core::PodFact;
use serde::de::IgnoredAny;
use serde_json::json;
use stdx::{BoxFuture, Env};

use crate::preemption::Eviction;

/// Greatest number of preemptions being carried out at once; others wait.
const IN_FLIGHT_MAX: usize = 16;
/// Attempts at each write without an answer.
const ATTEMPTS_MAX: u32 = 3;
/// Pause between them.
const ATTEMPT_PAUSE: Duration = Duration::from_secs(1);

/// Preemptions under way and waiting.
pub(crate) struct Evictor {
    client: Client,
    env: Env,
    waiting: VecDeque<Eviction>,
    flying: FuturesUnordered<BoxFuture<Evicted>>,
}

/// What became of a preemption.
pub(crate) struct Evicted {
    pub(crate) eviction: Eviction,
    /// Each victim's fate, in their order.
    pub(crate) outcomes: Vec<Outcome>,
}

impl Evicted {
    /// Whether all victims are on their way.
    pub(crate) fn is_whole(&self) -> bool {
        self.outcomes.iter().all(|o| matches!(o, Outcome::Done(_)))
    }
}

impl Evictor {
    pub(crate) fn new(client: Client, env: Env) -> Evictor {
        Evictor { client, env, waiting: VecDeque::new(), flying: FuturesUnordered::new() }
    }

    /// Takes a preemption.
    pub(crate) fn push(&mut self, eviction: Eviction) {
        self.waiting.push_back(eviction);
    }

    /// Starts as many as may be under way.
    pub(crate) fn start(&mut self) {
        while self.flying.len() < IN_FLIGHT_MAX {
            let Some(eviction) = self.waiting.pop_front() else { return };
            self.flying.push(Box::pin(carry_out(self.client.clone(), self.env.clone(), eviction)));
        }
    }

    /// The next finished one; never ends while none is under way.
    pub(crate) async fn next(&mut self) -> Evicted {
        match self.flying.next().await {
            Some(evicted) => evicted,
            None => std::future::pending().await,
        }
    }
}

async fn carry_out(client: Client, env: Env, eviction: Eviction) -> Evicted {
    let victims = eviction.victims.iter().map(|victim| evict(&client, &env, &eviction.preemptor, victim));
    let outcomes = join_all(victims).await;
    Evicted { eviction, outcomes }
}

async fn evict(client: &Client, env: &Env, preemptor: &PodFact, victim: &PodFact) -> Outcome {
    let condition = json!({
        "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler",
        "message": format!("{}: preempting to accommodate a higher priority pod", preemptor.scheduler),
        "lastProbeTime": null, "lastTransitionTime": env.now(),
    });
    let body = json!({"metadata": {"uid": &*victim.uid}, "status": {"conditions": [condition]}});
    let told = status(client, env, victim, body).await;
    let gone = match told {
        Ok(()) => delete(client, env, victim).await,
        Err(error) => Err(error),
    };
    match gone {
        Ok(()) => Outcome::Done(None),
        Err(error) if error.class() == Class::NotFound => Outcome::Done(None),
        Err(error) => {
            tracing::info!(victim = %victim.key(), preemptor = %preemptor.key(), %error, "victim not evicted");
            if error.class() == Class::Transient { Outcome::Unknown } else { Outcome::Undone }
        }
    }
}

/// Patches a pod's status. The body's uid fences it: it must not land on another pod of that name.
async fn status(client: &Client, env: &Env, pod: &PodFact, body: serde_json::Value) -> Result<(), Error> {
    let (pods, patch, options) = (&Pod::RESOURCE, &Patch::Strategic(body), &WriteOptions::default());
    let key = (pod.kin.namespace.as_str(), &*pod.name);
    patiently(env, || client.patch::<IgnoredAny>(pods, key, "status", patch, options)).await.map(drop)
}

async fn delete(client: &Client, env: &Env, pod: &PodFact) -> Result<(), Error> {
    let options = &DeleteOptions { uid: pod.uid.to_string(), ..DeleteOptions::default() };
    let (pods, key) = (&Pod::RESOURCE, (pod.kin.namespace.as_str(), &*pod.name));
    match patiently(env, || client.delete(pods, key, options)).await {
        // Another pod of that name: this one is gone.
        Err(e) if e.class() == Class::Conflict => Ok(()),
        other => other,
    }
}

/// Tries a write again while there is no clear answer.
async fn patiently<T, F>(env: &Env, write: impl Fn() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    for _ in 1..ATTEMPTS_MAX {
        match write().await {
            Err(e) if e.class() == Class::Transient => env.sleep(ATTEMPT_PAUSE).await,
            other => return other,
        }
    }
    write().await
}
