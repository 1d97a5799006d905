//! Deployment, ReplicaSet, StatefulSet, DaemonSet, ReplicationController, ControllerRevision.

mod daemon;
mod deployment;
mod replica;
mod revision;
mod shared;
mod stateful;

pub(super) use daemon::DAEMON_SET;
pub(super) use deployment::DEPLOYMENT;
pub(super) use replica::{REPLICA_SET, REPLICATION_CONTROLLER};
pub(super) use revision::CONTROLLER_REVISION;
pub(super) use stateful::STATEFUL_SET;
