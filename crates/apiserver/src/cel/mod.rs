//! Expressions about requests: match conditions of webhooks and policies, and policies themselves.
//!
//! ```text
//! request ─▶ Subject (what expressions see, made once) ─▶ Conditions::judge ─▶ does it matter here?
//!                                                    └──▶ policy::admit     ─▶ refused, warned, noted
//! ```
//!
//! The language is `cel-rules`; here are the variables of a request and who answers `authorizer`. What is absent: rules of
//! schemas, which see no request (`crd`, `pipeline/validate`), and MutatingAdmissionPolicy.

pub(crate) mod ask;
pub(crate) mod conditions;
pub(crate) mod env;
pub(crate) mod policy;
pub(crate) mod subject;

pub(crate) use conditions::{Conditions, Verdict};
pub(crate) use subject::Subject;
