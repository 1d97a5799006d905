//! The seam between an agent and what really runs containers.

use std::future::Future;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use node_core::{ContainerFact, Shape};

use crate::order::{ContainerOrder, PodOrder};

/// Runs the containers of pods. Calls for one pod come one after the other; calls for different pods may overlap.
///
/// A runtime keeps records of its own: after a restart of the agent, `pods` and `facts` tell of everything that was started before.
pub trait PodRuntime: Send + Sync + 'static {
    /// Pods of which there are traces, of all nodes.
    fn pods(&self) -> impl Future<Output = Result<Vec<PodTrace>, std::io::Error>> + Send;

    /// Makes a pod's address and volumes; the same address every time it is asked.
    fn prepare(&self, order: &PodOrder) -> impl Future<Output = Result<IpAddr, Refusal>> + Send;

    /// What is known of the containers, in the order of the shape.
    fn facts(&self, uid: &str, shape: &Shape) -> impl Future<Output = Vec<ContainerFact>> + Send;

    /// Starts the next instance of a container of a prepared pod. After success `facts` shows the instance.
    fn start(&self, uid: &str, order: &ContainerOrder) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// Sends TERM, and KILL after `grace`; returns at once. Repeated calls can only shorten the grace.
    fn stop(&self, uid: &str, container: &str, grace: Duration) -> impl Future<Output = ()> + Send;

    /// Puts other resources into effect for the running instance.
    fn resize(
        &self,
        uid: &str,
        container: &str,
        resources: &api_core::ResourceRequirements,
    ) -> impl Future<Output = ()> + Send;

    /// Removes all traces of a pod none of whose containers runs.
    fn remove(&self, uid: &str) -> impl Future<Output = ()> + Send;

    /// Runs a command in a container's surroundings.
    fn exec(
        &self,
        uid: &str,
        container: &str,
        command: &[String],
        timeout: Duration,
    ) -> impl Future<Output = ExecOutcome> + Send;

    /// Where a container's log is.
    fn logs(&self, uid: &str, container: &str, is_previous: bool) -> Option<LogSource>;

    /// Completes when facts may have changed, with the pods concerned; at the latest after about a second.
    fn changed(&self) -> impl Future<Output = Result<Vec<String>, std::io::Error>> + Send;

    /// Things somebody should know about a pod's running containers.
    fn remarks(&self, uid: &str) -> impl Future<Output = Vec<Remark>> + Send;
}

/// A pod of which the runtime has traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodTrace {
    /// Node it was started for.
    pub node: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Identity.
    pub uid: String,
    /// Its address, if it has one.
    pub address: Option<IpAddr>,
    /// Containers with an instance that runs.
    pub alive: Vec<String>,
}

/// Why something cannot be started, in the words of a container's waiting state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// One word, such as `ErrImagePull`.
    pub reason: String,
    /// A sentence.
    pub message: String,
}

impl Refusal {
    /// A refusal.
    pub fn new(reason: &str, message: impl Into<String>) -> Refusal {
        Refusal { reason: reason.to_owned(), message: message.into() }
    }
}

/// Something somebody should know: becomes a Warning event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Remark {
    /// One word.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecOutcome {
    /// Exit code; nothing when it could not be run or took too long.
    pub code: Option<i32>,
    /// What it said, or why it could not be run.
    pub output: String,
}

/// A container's log in CRI format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSource {
    /// Files, oldest first; the last one grows. A file that is not there is empty.
    pub files: Vec<PathBuf>,
    /// Whether more may come.
    pub is_alive: bool,
}
