//! The openb experiment: pods with fractions of devices arrive one by one on an empty cluster and stay.
//!
//! Files as in Alibaba's cluster-trace-gpu-v2023; the experiment is that of "Beware of Fragmentation" (USENIX ATC 2023): a pod
//! that fits nowhere is dropped, arrivals go on to 130 % of the devices' capacity.

mod order;
mod run;
mod trace;

pub use order::Order;
pub(crate) use run::most;
pub use run::{NoOpinion, run};
pub use trace::Trace;
