//! Surge and unavailability of a rolling update, resolved to numbers in one place.

use api_meta::{IntOrPercent, Round};

/// How far a roll-out may go above and below the wanted count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Pods above the wanted count.
    pub surge: i32,
    /// Pods below the wanted count.
    pub unavailable: i32,
}

impl Budget {
    /// Resolves shares of `replicas`: surge rounds up, unavailability down; when both come to nothing one pod may be
    /// unavailable, for else nothing could ever move (as kube-controller-manager 1.36).
    pub fn rolling(replicas: i32, surge: IntOrPercent, unavailable: IntOrPercent) -> Budget {
        let surge = surge.of(replicas, Round::Up).max(0);
        let unavailable = unavailable.of(replicas, Round::Down).max(0);
        let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
        Budget { surge, unavailable: unavailable.min(replicas.max(0)) }
    }

    /// Fewest available pods.
    pub fn available_min(&self, replicas: i32) -> i32 {
        (replicas - self.unavailable).max(0)
    }

    /// Most pods.
    pub fn total_max(&self, replicas: i32) -> i32 {
        replicas.saturating_add(self.surge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_resolve_as_upstream_does() {
        let quarter = IntOrPercent::Percent(25);
        let of = |n| Budget::rolling(n, quarter, quarter);
        assert_eq!(of(10), Budget { surge: 3, unavailable: 2 });
        assert_eq!(of(3), Budget { surge: 1, unavailable: 0 });
        assert_eq!(of(0), Budget { surge: 0, unavailable: 0 });
        let none = Budget::rolling(5, IntOrPercent::Int(0), IntOrPercent::Percent(10));
        assert_eq!(none, Budget { surge: 0, unavailable: 1 });
    }
}
