//! Kinds that a cluster may not have: looked for ever more slowly, and mirrored once they are served.

use std::time::Duration;

use api_client::{Class, Client, ListOptions, Reflector};
use serde::de::IgnoredAny;
use stdx::Env;

use crate::inbox::{Inlet, Of, OptionalKind};

/// First pause before a kind that is not served is looked for again; doubles.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Mirrors a kind as soon as it is served. Decisions wait until it is known whether it is, and for no longer: what is not there
/// can hold nobody up. A kind that may not be read is as one that is not there, and is told once.
pub(crate) async fn mirror<T: OptionalKind>(client: Client, env: Env, inlet: Inlet<Of<T>>) {
    let mut pause = PAUSE_MIN;
    let mut is_settled = false;
    loop {
        let options = ListOptions { limit: 1, ..ListOptions::default() };
        let Err(error) = client.list::<IgnoredAny>(&T::RESOURCE, "", &options).await else { break };
        // Whether it is there is not known after an unclear answer.
        if error.class() != Class::Transient && !is_settled {
            is_settled = true;
            if error.class() == Class::Forbidden {
                tracing::warn!(resource = %T::RESOURCE, %error, "not mirrored: grant it, or its rules do not act");
            }
            inlet.settle().await;
        }
        env.sleep(pause).await;
        // While decisions wait for the answer it is asked for without delay.
        pause = if is_settled { (pause * 2).min(PAUSE_MAX) } else { PAUSE_MIN };
    }
    Reflector::new(client, env, T::RESOURCE).run_into(inlet).await;
}
