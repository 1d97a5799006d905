//! Devices with fractions: nodes with what is left of each device, pods that share, take whole or take several devices, and
//! the policies that choose among nodes.
//!
//! ```text
//! Shape (pod) --Node::fits--> nodes that can --Policy::rate--> Rating {score, devices} --Pool::choose--> Place
//! Mix (what is expected) --fragments--> what of a node's devices nobody expected can use
//! ```
//!
//! The published policies are those of "Beware of Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation Gradient
//! Descent" (USENIX ATC 2023), with the same whole scores and the same order among equals.
//! What is absent: names, objects of an API, files, clocks; and every rule that is not about devices, CPU and memory.

mod mix;
mod node;
mod policy;
mod pool;
mod shape;

pub use mix::Mix;
pub use node::{DEVICES_MAX, DeviceSet, Node, Room, TooManyDevices};
pub use policy::{BestFit, DotProd, Fgd, GpuClustering, GpuPacking, Knarr, Policy, Rating};
pub use pool::{Place, Pool};
pub use shape::{Kind, MODELS_MAX, Model, ModelNames, Models, SPELLINGS_MAX, Shape, TooManyModels, WHOLE};
