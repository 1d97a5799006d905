//! The rules of placement: which nodes a pod may go to, and which it likes best.
//!
//! ```text
//! filters, in this order: NodeUnschedulable NodeName TaintToleration NodeAffinity NodePorts NodeResourcesFit
//!                         VolumeRestrictions NodeVolumeLimits VolumeBinding VolumeZone PodTopologySpread InterPodAffinity
//! scores (weight):        TaintToleration 3, NodeAffinity 2, PodTopologySpread 2, InterPodAffinity 2,
//!                         NodeResourcesFit 1 (least allocated), NodeResourcesBalancedAllocation 1, ImageLocality 1
//!
//! Engine   the fast evaluation: classes of equal pods, cells that follow changes, counts kept up by the snapshot
//! Plain    the slow one, rule by rule and node by node; both give the same decisions, and tests hold them to it
//! ```
//!
//! Verdicts, reasons and scores follow kube-scheduler 1.36; differences are stated where they are. Scheduling gates are the
//! queue's work. What is absent: dynamic resources, capacities of
//! storage, volumes named in pods without a claim, and everything of Koordinator.

mod config;
mod engine;
mod logarithm;
mod plain;
mod rules;

pub use config::{ConfigError, Configuration, Profile};
pub use engine::{Budget, Engine, Extra, Futile, Preemption, volume_plan};
pub use plain::{Plain, Survey, Surveyed};
pub use rules::{DefaultSpread, Rules, Weights};
