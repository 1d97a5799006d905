//! The rules of placement: which nodes a pod may go to, and which it likes best. One file each, named after kube-scheduler's.
//!
//! ```text
//! filters, in this order: NodeUnschedulable NodeName TaintToleration NodeAffinity NodePorts NodeResourcesFit
//!                         PodTopologySpread InterPodAffinity
//! scores (weight):        TaintToleration 3, NodeAffinity 2, PodTopologySpread 2, InterPodAffinity 2,
//!                         NodeResourcesFit 1 (least allocated), NodeResourcesBalancedAllocation 1
//! ```
//!
//! Verdicts, reasons and scores follow kube-scheduler 1.36; differences are stated where they are. Scheduling gates are the
//! queue's work. What is absent: volumes, image locality, preemption, dynamic resources, and everything of Koordinator.

mod balanced;
mod fit;
mod node_affinity;
mod node_name;
mod normalize;
mod pod_affinity;
mod ports;
mod spread;
mod taints;
mod unschedulable;

use sched_core::{Engine, Plugin};

pub use spread::DefaultSpread;

/// How the rules are set up.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Constraints of pods that have none of their own.
    pub default_spread: Vec<DefaultSpread>,
}

impl Rules {
    /// kube-scheduler's own defaults: over zones (skew 5) and hosts (skew 3), as far as possible.
    pub fn upstream() -> Rules {
        Rules { default_spread: DefaultSpread::upstream() }
    }

    /// The rules, in kube-scheduler's order.
    pub fn plugins(&self) -> Vec<Box<dyn Plugin>> {
        vec![
            Box::new(unschedulable::NodeUnschedulable),
            Box::new(node_name::NodeName),
            Box::new(taints::TaintToleration),
            Box::new(node_affinity::NodeAffinity),
            Box::new(ports::NodePorts),
            Box::new(fit::NodeResourcesFit),
            Box::new(spread::PodTopologySpread::new(self.default_spread.clone())),
            Box::new(pod_affinity::InterPodAffinity),
            Box::new(balanced::NodeResourcesBalancedAllocation),
        ]
    }

    /// An engine with these rules.
    pub fn engine(&self) -> Engine {
        Engine::new(self.plugins())
    }
}
