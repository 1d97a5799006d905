//! Pods as local processes: every container a child of its own small shim, every pod on its own 127.x.y.z address.
//!
//! ```text
//! agent (one process, all process nodes of a cluster)
//!   │  writes config.json, spawns, forgets            ProcessRuntime: the files are the truth
//!   v
//! shim start ──> shim run (own session, parent of the container, owner of its log)
//!                  └──> shim exec ──execve──> the container (own session, no_new_privs, rlimits, clean environment)
//!
//! STATE/pods/UID/pod.json                          node, name, address
//! STATE/pods/UID/volumes/NAME/…                    content of volumes
//! STATE/pods/UID/containers/NAME/ATTEMPT/          config.json start.json exit.json stop.json control log log.1 root/
//! ```
//!
//! An agent that comes back reads the files, checks pid and start time of what should be running, and goes on without
//! touching it. A shim whose directory is gone kills its container and ends. Ctrl-C in the terminal reaches none of them.
//!
//! **No isolation, and it says so**: containers run as the user, see the whole machine and are not limited. An image is an
//! entry of a [`Catalogue`]; `command` of a container and exec probes are refused unless the entry allows them. A volume
//! mounted at `/data` is found at `./data` in the container's working directory. hostPath and persistent volumes
//! are absent; resources are reported, not enforced.

mod address;
mod agent;
mod catalogue;
mod log;
mod make;
mod observe;
mod procfs;
mod records;
mod runtime;
mod shim;

pub use address::SHARES;
pub use agent::{AgentConfig, AgentError, agent_main};
pub use catalogue::{Catalogue, CatalogueError, Image};
pub use runtime::{OpenError, ProcessRuntime};
pub use shim::shim_main;
