//! Whether anybody looks: what the board shows is mirrored for them alone.
//!
//! A mirror of all pods costs memory for each and work for each change, which an installation that nobody looks at need not pay.
//! The first look wakes the mirrors; when nobody has looked for a while they end, and what they brought is forgotten.

use std::sync::Arc;
use std::time::Duration;

use api_client::Client;
use stdx::{Env, Time};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::keeper::Input;
use crate::mirror;

/// So long after the last look the mirrors go on; longer than an open page is silent (see its heartbeat).
const PATIENCE: Duration = Duration::from_secs(120);
/// Who looks first waits at most so long for all kinds; one that is not served never comes.
const FIRST_LOOK: Duration = Duration::from_secs(2);

/// Since when the mirrors run, and the last look.
#[derive(Clone, Copy, Debug)]
struct Awake {
    since: Time,
    looked: Time,
}

/// The looks of all pages; clones are the same.
#[derive(Clone)]
pub(crate) struct Demand(Arc<watch::Sender<Option<Awake>>>);

impl Demand {
    /// Nobody has looked yet.
    pub(crate) fn new() -> Demand {
        Demand(Arc::new(watch::Sender::new(None)))
    }

    /// Somebody looks. Gives how long what is shown may still be incomplete; zero when the mirrors have run for long.
    pub(crate) fn look(&self, now: Time) -> Duration {
        let mut since = now;
        self.0.send_if_modified(|awake| {
            let was_asleep = awake.is_none();
            since = awake.map_or(now, |a| a.since);
            *awake = Some(Awake { since, looked: now });
            was_asleep
        });
        FIRST_LOOK.saturating_sub(now.since(since))
    }

    /// Mirrors while somebody looks, until nobody takes in anything any more.
    pub(crate) async fn mirror(self, client: Client, env: Env, out: mpsc::Sender<Input>) {
        let mut awake = self.0.subscribe();
        while awake.wait_for(Option::is_some).await.is_ok() {
            let mut tasks = JoinSet::new();
            mirror::start(&mut tasks, &client, &env, &out);
            while let Some(left) = self.left(env.now()) {
                env.sleep(left).await;
            }
            drop(tasks);
            if out.send(Input::Forgotten).await.is_err() {
                return;
            }
        }
    }

    /// How long the mirrors go on without another look; falls asleep when that is no time at all.
    fn left(&self, now: Time) -> Option<Duration> {
        let mut left = None;
        self.0.send_if_modified(|awake| {
            let silent = awake.map(|a| now.since(a.looked));
            left = silent.and_then(|silent| PATIENCE.checked_sub(silent)).filter(|left| !left.is_zero());
            if left.is_none() {
                *awake = None;
            }
            left.is_none()
        });
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_end_when_nobody_has_looked_for_long() {
        let at = Time::from_secs;
        let demand = Demand::new();
        assert_eq!(demand.look(at(100)), FIRST_LOOK);
        assert_eq!(demand.look(at(101)), FIRST_LOOK - Duration::from_secs(1));
        assert_eq!(demand.look(at(200)), Duration::ZERO);
        assert_eq!(demand.left(at(210)), Some(PATIENCE - Duration::from_secs(10)));
        assert_eq!(demand.left(at(320)), None);
        assert_eq!(demand.look(at(321)), FIRST_LOOK, "who looks now looks first again");
    }
}
