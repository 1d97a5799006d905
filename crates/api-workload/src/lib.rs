//! CloneSet as OpenKruise master defines it: the stored version (`v1beta1`) as a typed view, the served older one
//! (`v1alpha1`) by conversion, and what OpenKruise's webhooks do to an object: defaults and validation.
//!
//! ```text
//! v1alpha1 --convert--> v1beta1 --default_cloneset--> whole --validate_*--> stored
//!                                        same functions   |
//!                       controllers read --> CloneSet::read_spec
//! ```
//!
//! The same functions run in the server's admission and in the controllers, so that a cluster which knows the kind only
//! as a CustomResourceDefinition behaves the same; there a bad object is named by a condition instead of being refused.
//! What is absent: defaults and validation inside pod templates (beyond containers, names and images), and other kinds.

mod cloneset;
mod convert;
mod crd;
mod defaults;
mod inert;
pub mod names;
mod validate;

pub use cloneset::{
    CloneSet, CloneSetSpec, CloneSetStatus, InPlaceUpdateStrategy, Lifecycle, LifecycleHook, OrderPriority,
    PodUpdatePolicy, PriorityStrategy, RollingUpdate, ScaleStrategy, ScatterTerm, UpdateStrategy, UpdateType,
    WeightPriority,
};
pub use convert::convert;
pub use crd::{cloneset_crd, crds};
pub use defaults::default_cloneset;
pub use inert::inert_fields;
pub use validate::{validate_create, validate_update};
