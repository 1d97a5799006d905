//! The words every Kubernetes object shares. Pure types with their parsing; no I/O and no policy.
//!
//! What is absent: kinds (see `api-core`, `api-workload`), schemas (`api-schema`) and wires (`api-client`).

mod int_or_percent;
mod meta;
mod quantity;
mod resource;
mod selector;
mod status;

pub use int_or_percent::{IntOrPercent, Round};
pub use meta::{Condition, Object, ObjectKey, ObjectMeta, OwnerReference, set_condition};
pub use quantity::{Quantity, QuantityError, Written};
pub use resource::{GroupVersionKind, Resource};
pub use selector::{
    FieldSelector, LabelSelector, Labels, MatchExpression, Requirement, Selector, SelectorError,
};
pub use status::{Cause, Reason, Status, StatusDetails};
