//! Admission as pure functions: what may enter a cluster, and how it is completed on its way in.
//!
//! ```text
//! amount       quantities that add up
//! attributes   what is done, to what, by whom             words of all the others
//! hooks        configurations of webhooks: which hook a request meets, in which version of the object
//! review       AdmissionReview: the question to a hook, its answer, the words of a refusal
//! limits       LimitRange: defaults and bounds             \
//! quota        ResourceQuota: what an object costs          | trees in, findings or changed trees out
//! security     PodSecurity: levels baseline and restricted /
//! ```
//!
//! Behaviour and messages are those of kube-apiserver 1.36: clients parse them. What is absent: calling a hook, reading and
//! writing objects, evaluating expressions (a hook's match conditions are text here), clocks: the moment is an argument.

pub mod amount;
mod attributes;
pub mod hooks;
pub mod limits;
mod pod;
pub mod quota;
pub mod review;
pub mod security;

pub use attributes::{Attributes, Kind, Operation, Place, is_exempt};
