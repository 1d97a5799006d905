//! What a runtime knows about the containers of a pod.

use std::sync::Arc;

use api_core::ResourceRequirements;
use stdx::Time;

/// Everything known about one container: its newest instance and how the one before ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContainerFact {
    /// The newest instance, if there ever was one.
    pub instance: Option<Instance>,
    /// How the instance before it ended.
    pub before: Option<Box<Ended>>,
    /// Readiness as data; probes are then not run. Simulated runtimes set it.
    pub ready: Option<bool>,
}

/// One run of a container.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// Identity, with the runtime's scheme: `process://…`.
    pub id: Box<str>,
    /// How many instances came before it.
    pub attempt: u32,
    /// Image as the pod's spec named it when the instance was made.
    pub image: Arc<str>,
    /// Digest of that image.
    pub image_id: Arc<str>,
    /// What it does.
    pub state: InstanceState,
    /// Resources in effect.
    pub resources: Arc<ResourceRequirements>,
}

/// What an instance does.
#[derive(Clone, Debug, PartialEq)]
pub enum InstanceState {
    /// Being made.
    Creating,
    /// Running.
    Running {
        /// Since when.
        since: Time,
    },
    /// Ended.
    Exited(Box<Exit>),
}

/// How an instance ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exit {
    /// Exit code; 128 + signal when a signal ended it.
    pub code: i32,
    /// Signal that ended it.
    pub signal: Option<i32>,
    /// Why, in one word; empty for `Completed` or `Error` by the code.
    pub reason: String,
    /// Last words.
    pub message: String,
    /// When it had started.
    pub started: Option<Time>,
    /// When it ended.
    pub finished: Time,
}

/// An instance that is history.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// Identity.
    pub id: Box<str>,
    /// Image that it ran, as the pod's spec named it then.
    pub image: Arc<str>,
    /// Digest of the image it ran.
    pub image_id: Arc<str>,
    /// How it ended.
    pub exit: Exit,
}

impl Exit {
    /// The word for `state.terminated.reason`.
    pub fn reason(&self) -> &str {
        match (self.reason.as_str(), self.code) {
            ("", 0) => "Completed",
            ("", _) => "Error",
            (reason, _) => reason,
        }
    }
}

impl Instance {
    /// Since when it runs, if it does.
    pub fn running_since(&self) -> Option<Time> {
        match self.state {
            InstanceState::Running { since } => Some(since),
            _ => None,
        }
    }

    /// How it ended, if it has.
    pub fn exit(&self) -> Option<&Exit> {
        match &self.state {
            InstanceState::Exited(exit) => Some(exit),
            _ => None,
        }
    }
}

impl ContainerFact {
    /// Since when the newest instance runs, if it does.
    pub fn running_since(&self) -> Option<Time> {
        self.instance.as_ref()?.running_since()
    }

    /// How the newest instance ended, if it has.
    pub fn exit(&self) -> Option<&Exit> {
        self.instance.as_ref()?.exit()
    }

    /// Whether an instance is there that has not ended.
    pub fn is_alive(&self) -> bool {
        self.instance.as_ref().is_some_and(|i| !matches!(i.state, InstanceState::Exited(_)))
    }
}
