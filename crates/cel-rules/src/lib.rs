//! The Common Expression Language as Kubernetes has it: typed, with its libraries, and bounded in what a run may cost.
//!
//! ```text
//! text ─lex─▶ tokens ─parse─▶ tree ─check─▶ types of nodes ─estimate─▶ cost at worst
//!                                   │
//!                                   └─run(variables, budget)─▶ value
//! rules:  openAPIV3Schema ─check──▶ findings about x-kubernetes-validations
//!                        └─compile─▶ Rules ─judge(new, old)─▶ findings about an object
//! ```
//!
//! Errors are cel-go's and Kubernetes' word for word, because people and clients read them. What is absent: extensions that
//! Kubernetes does not have (`cel.bind`, `math`), time zones by name, and whoever answers [`Authorize`].

mod ast;
mod authorize;
mod check;
mod cost;
mod env;
mod estimate;
mod fault;
mod lex;
mod library;
mod moment;
mod parse;
pub mod rules;
mod run;
pub mod schema;
mod types;
mod value;

#[cfg(test)]
mod tests;

pub use authorize::{Answer, Authorize, Check, Question};
pub use env::{Env, Program};
pub use fault::{CompileError, Fault, RunError};
pub use library::cidr::Cidr;
pub use library::format::Format;
pub use library::quantity::Amount;
pub use library::semver::Semver;
pub use library::url::Url;
pub use moment::{Moment, duration};
pub use run::{Activation, Budget};
pub use types::{FieldType, ListType, MapType, Merge, ObjectType, Type, UNBOUND};
pub use value::{Key, List, Value};

/// What one run of an expression may cost (upstream's `PerCallLimit`): about a twentieth of a second.
pub const CALL_COST_MAX: u64 = 1_000_000;
/// What all rules of an object, or all expressions of a policy, may cost together (`RuntimeCELCostBudget`).
pub const OBJECT_COST_MAX: u64 = 10_000_000;
/// What the match conditions of a webhook or policy may cost together.
pub const CONDITIONS_COST_MAX: u64 = OBJECT_COST_MAX / 4;
