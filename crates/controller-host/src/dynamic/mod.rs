//! The controllers that must reach every kind, known or not: namespace deletion, garbage collection, counts of quotas.
//!
//! ```text
//! discovery ──> kinds ──> live lists (namespaces, quotas) | metadata mirrors (garbage) ──> pure planner in `builtins` ──> executor
//! ```

mod collect;
mod desk;
mod discovery;
mod quotas;
mod sweep;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use api_client::Client;
use reconcile::{Action, Fuse, Permission, Permit, PermitRequest, Verdict};
use stdx::{Env, Time};
use tokio::sync::oneshot;

use crate::execute::Executor;
use crate::metrics::Metrics;
use crate::{Clients, HostConfig};

/// The names of the controllers that [`HostConfig::duties`] starts, with what each may do.
pub fn duties() -> Vec<(&'static str, Vec<Permission>)> {
    vec![
        (builtins::namespace::NAME, builtins::namespace::permissions()),
        (builtins::gc::NAME, builtins::gc::permissions()),
        (builtins::quota::NAME, builtins::quota::permissions()),
    ]
}

/// What one of them works with.
struct Duty {
    controller: &'static str,
    env: Env,
    client: Client,
    executor: Executor,
    permit: Arc<dyn Permit>,
    fuse: Fuse,
    metrics: Arc<Metrics>,
}

/// Keeps them running; dropping it ends them.
pub(crate) struct Running {
    _stop: [oneshot::Sender<()>; 3],
}

/// Starts them.
pub(crate) fn start(
    env: &Env,
    clients: &Clients,
    permit: &Arc<dyn Permit>,
    config: &HostConfig,
    metrics: &Arc<Metrics>,
) -> Running {
    let duty = |controller: &'static str| {
        let client = clients(controller);
        let executor = Executor {
            controller,
            client: client.clone(),
            env: env.clone(),
            request_max: config.request_max,
            metrics: metrics.clone(),
        };
        let (permit, fuse) = (permit.clone(), Fuse::new(config.rates));
        Duty { controller, env: env.clone(), client, executor, permit, fuse, metrics: metrics.clone() }
    };
    let namespaces = until_dropped(env, "namespaces", sweep::run(duty(builtins::namespace::NAME)));
    let garbage = until_dropped(env, "garbage", collect::run(duty(builtins::gc::NAME)));
    let quotas = until_dropped(env, "quotas", quotas::run(duty(builtins::quota::NAME)));
    Running { _stop: [namespaces, garbage, quotas] }
}

fn until_dropped(
    env: &Env,
    name: &'static str,
    task: impl Future<Output = ()> + Send + 'static,
) -> oneshot::Sender<()> {
    let (stop, stopped) = oneshot::channel();
    env.spawn(name, async move {
        tokio::select! {
            biased;
            _ = stopped => {}
            () = task => {}
        }
    });
    stop
}

impl Duty {
    /// Asks for the permission to act; says how long to wait when it is not granted.
    fn ask(&mut self, workload: &str, action: &Action, now: Time) -> Result<(), Duration> {
        let Some(request) = PermitRequest::of(self.controller, workload, action) else { return Ok(()) };
        let verdict = match self.permit.ask(&request, None, now) {
            Verdict::Granted => self.fuse.ask(request.controller, request.risk, now),
            held => held,
        };
        match verdict {
            Verdict::Granted => Ok(()),
            Verdict::Held { reason, retry_after } => {
                tracing::debug!(controller = self.controller, workload, reason, "held");
                self.metrics.held(self.controller);
                Err(retry_after)
            }
        }
    }
}
