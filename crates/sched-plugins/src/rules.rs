//! How the rules are set up.

use std::sync::Arc;

use crate::{Engine, Plain};

pub(crate) const HOSTNAME: &str = "kubernetes.io/hostname";
/// Greatest sum of all weights; kube-scheduler's are 12 together.
const WEIGHTS_MAX: i64 = 80;
const ZONE: &str = "topology.kubernetes.io/zone";

/// How the rules are set up.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Constraints of pods that have none of their own.
    pub default_spread: Vec<DefaultSpread>,
    /// How much each score weighs.
    pub weights: Weights,
}

/// How much each score weighs; a score of weight 0 is not worked out at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weights {
    /// Few untolerated soft taints.
    pub taint_toleration: i64,
    /// Preferred node affinity.
    pub node_affinity: i64,
    /// Soft spreading.
    pub pod_topology_spread: i64,
    /// Pods to be near to or far from.
    pub inter_pod_affinity: i64,
    /// Room left (least allocated).
    pub resources_fit: i64,
    /// CPU and memory in balance.
    pub balanced_allocation: i64,
    /// Images that are there already.
    pub image_locality: i64,
}

impl Weights {
    /// Those of kube-scheduler's default profile.
    pub fn upstream() -> Weights {
        Weights {
            taint_toleration: 3,
            node_affinity: 2,
            pod_topology_spread: 2,
            inter_pod_affinity: 2,
            resources_fit: 1,
            balanced_allocation: 1,
            image_locality: 1,
        }
    }

    /// Whether none is below zero and all together are at most 80: the sums of scores then fit into two bytes.
    pub fn are_in_range(&self) -> bool {
        let all = [
            self.taint_toleration,
            self.node_affinity,
            self.pod_topology_spread,
            self.inter_pod_affinity,
            self.resources_fit,
            self.balanced_allocation,
            self.image_locality,
        ];
        all.iter().all(|w| (0..=WEIGHTS_MAX).contains(w)) && all.iter().sum::<i64>() <= WEIGHTS_MAX
    }

    /// None of them: for those who bring scores of their own.
    pub fn none() -> Weights {
        Weights {
            taint_toleration: 0,
            node_affinity: 0,
            pod_topology_spread: 0,
            inter_pod_affinity: 0,
            resources_fit: 0,
            balanced_allocation: 0,
            image_locality: 0,
        }
    }
}

/// A constraint for pods that have none of their own. The pods counted are those of the same controller: kube-scheduler takes
/// the selectors of the pod's Services, ReplicaSet and StatefulSet, which are the same pods wherever there is a controller.
#[derive(Clone, Debug)]
pub struct DefaultSpread {
    /// Node label that names the domain.
    pub topology: Arc<str>,
    /// Greatest difference that is not scored against.
    pub max_skew: i64,
}

impl DefaultSpread {
    /// kube-scheduler's own.
    pub fn upstream() -> Vec<DefaultSpread> {
        let one = |topology: &str, max_skew| DefaultSpread { topology: topology.into(), max_skew };
        vec![one(HOSTNAME, 3), one(ZONE, 5)]
    }
}

impl Rules {
    /// kube-scheduler's own defaults: over zones (skew 5) and hosts (skew 3), as far as possible.
    pub fn upstream() -> Rules {
        Rules { default_spread: DefaultSpread::upstream(), weights: Weights::upstream() }
    }

    /// An engine with these rules. Panics if the [weights](Weights::are_in_range) are out of range.
    pub fn engine(&self) -> Engine {
        Engine::new(self.clone())
    }

    /// The plain evaluation of these rules, for comparison.
    pub fn plain(&self) -> Plain {
        Plain::new(self)
    }
}
