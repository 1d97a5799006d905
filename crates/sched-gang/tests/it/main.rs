//! Gangs through the public interface.

#![allow(clippy::unwrap_used, reason = "helpers of tests stop where they are wrong")]

mod properties;
mod stories;

use std::time::Duration;

use api_koord::gang::{GangWords, Match, Mode};
use stdx::Time;

/// A gang that waits ten seconds.
pub(crate) fn words(name: &str, min: u32, together: &[&str]) -> GangWords {
    GangWords {
        name: name.into(),
        min,
        total: min,
        mode: Mode::Strict,
        counts: Match::OnceSatisfied,
        wait: Duration::from_secs(10),
        together: together.iter().map(|g| (*g).to_owned()).collect(),
        created: Time::from_secs(0),
        has_object: true,
    }
}
