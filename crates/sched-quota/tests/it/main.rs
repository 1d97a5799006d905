//! Quotas through the public interface.

#![allow(clippy::unwrap_used, reason = "helpers of tests stop where they are wrong")]

mod checks;
mod properties;
mod stories;

use api_koord::Amounts;
use api_koord::quota::QuotaWords;
use sched_quota::PodFact;
use stdx::Time;

/// A quota below a parent; cpu in whole CPUs.
pub(crate) fn quota(name: &str, parent: &str, min: i64, max: i64) -> QuotaWords {
    let cpu = |n: i64| Amounts::from([("cpu", n * 1000)]);
    QuotaWords {
        name: name.into(),
        namespace: "quotas".into(),
        parent: if parent.is_empty() { api_koord::names::ROOT_QUOTA } else { parent }.into(),
        min: cpu(min),
        max: cpu(max),
        weight: cpu(max),
        lent: true,
        ..QuotaWords::default()
    }
}

/// A placed pod of some whole CPUs.
pub(crate) fn pod(quota: &str, cpus: i64, priority: i32) -> PodFact {
    PodFact {
        quota: quota.into(),
        request: Amounts::from([("cpu", cpus * 1000)]),
        is_firm: false,
        priority,
        created: Time::from_secs(0),
        is_placed: true,
    }
}
