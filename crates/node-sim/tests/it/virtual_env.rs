//! An environment whose clock is tokio's, so that pausing it pauses everything.

use stdx::{Env, Time};

pub(crate) fn env(seed: u64) -> Env {
    os::virtual_env(Time::from_secs(1_800_000_000), seed)
}
