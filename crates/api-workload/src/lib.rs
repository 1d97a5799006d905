//! Workload kinds that are CustomResourceDefinitions. CloneSet as OpenKruise master defines it: the stored version (`v1beta1`) as a typed view, the served older one
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
//!
//! Beside it: [`CafeDeployment`] and [`InPlaceSet`] (releases by cells and groups; one version each), and OpenKruise's
//! [`unavailable_budget`]. Each kind has a typed view, defaults, validation and its definition.
//! What is absent: defaults and validation inside pod templates (beyond containers, names and images), and other kinds.

mod cafe;
mod cafe_rules;
mod cloneset;
mod convert;
mod crd;
mod defaults;
mod inert;
mod inplaceset;
pub mod names;
pub mod unavailable_budget;
mod validate;

pub use cafe::{
    AutoReschedule, CafeDeployment, CafeDeploymentSpec, CafeDeploymentStatus, CafePhase, CafeStrategy,
    CellStatus, GroupCell, GroupPhase, GroupStatus, MovedQuota, PodSetType, ReleaseStatus, Topology,
    UnitType, UpgradeType, WaitsFor,
};
pub use cafe_rules::{
    default_cafedeployment, set_suffix, validate_cafedeployment, validate_cafedeployment_update,
};
pub use cloneset::{
    CloneSet, CloneSetSpec, CloneSetStatus, InPlaceUpdateStrategy, Lifecycle, LifecycleHook, OrderPriority,
    PodUpdatePolicy, PriorityStrategy, RollingUpdate, ScaleStrategy, ScatterTerm, UpdateStrategy, UpdateType,
    WeightPriority,
};
pub use convert::convert;
pub use crd::{budget_crd, cafedeployment_crd, cloneset_crd, crds, inplaceset_crd};
pub use defaults::default_cloneset;
pub use inert::inert_fields;
pub use inplaceset::{
    InPlaceSet, InPlaceSetSpec, InPlaceSetStatus, InPlaceSetStrategy, default_inplaceset,
    validate_inplaceset, validate_inplaceset_update,
};
pub use unavailable_budget::{PodUnavailableBudget, PodUnavailableBudgetSpec};
pub use validate::{validate_create, validate_update};
