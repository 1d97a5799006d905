//! How long a pod stays on a node with NoExecute taints.

use std::time::Duration;

use api_core::{Node, Pod, Taint, Toleration};
use stdx::Time;

use crate::node::NO_EXECUTE;

/// When a pod must leave a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stay {
    /// It may stay for good, as far as taints go; or a taint does not say since when it counts.
    Unlimited,
    /// It must go then, which may be past.
    Until(Time),
}

/// How long the pod may stay. As upstream, of the tolerations that match a taint the first counts, and of the terms of all
/// taints the shortest.
pub(crate) fn stay(pod: &Pod, node: &Node, now: Time) -> Stay {
    let taints: Vec<&Taint> = node.spec.taints.iter().filter(|t| t.effect == NO_EXECUTE).collect();
    let mut ends: Option<Time> = None;
    for taint in taints {
        let Some(toleration) = pod.spec.tolerations.iter().find(|t| tolerates(t, taint)) else {
            return Stay::Until(now);
        };
        let Some(secs) = toleration.toleration_seconds else { continue };
        // A pod that came later than the taint has its whole term.
        let Some(since) = taint.time_added.max(pod.metadata.creation_timestamp) else { continue };
        let end = since + Duration::from_secs(u64::try_from(secs).unwrap_or(0));
        ends = Some(ends.map_or(end, |e| e.min(end)));
    }
    ends.map_or(Stay::Unlimited, Stay::Until)
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.is_empty() || toleration.effect == taint.effect;
    let key = toleration.key.is_empty() || toleration.key == taint.key;
    let value = match toleration.operator.as_str() {
        "Exists" => true,
        "" | "Equal" => !toleration.key.is_empty() && toleration.value == taint.value,
        operator => compares(operator, &toleration.value, &taint.value),
    };
    effect && key && value
}

/// `Lt` and `Gt`: the taint's number is below or above the toleration's.
fn compares(operator: &str, tolerated: &str, tainted: &str) -> bool {
    let number = |text: &str| text.parse::<i64>().ok();
    let (Some(tolerated), Some(tainted)) = (number(tolerated), number(tainted)) else { return false };
    match operator {
        "Lt" => tainted < tolerated,
        "Gt" => tainted > tolerated,
        _ => false,
    }
}
