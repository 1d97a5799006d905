//! What a runtime is asked to run: everything resolved, nothing left to look up.

use std::collections::BTreeMap;
use std::sync::Arc;

use api_core::ResourceRequirements;

/// A pod to be made ready for its containers.
#[derive(Clone, Debug, Default)]
pub struct PodOrder {
    /// Node it runs on.
    pub node: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Identity.
    pub uid: String,
    /// Ports its containers declare, with the container's name.
    pub ports: Vec<(String, u16)>,
    /// Volumes.
    pub volumes: Vec<Volume>,
}

/// A volume with its content.
#[derive(Clone, Debug)]
pub struct Volume {
    /// Name within the pod.
    pub name: String,
    /// What is in it.
    pub content: Content,
}

/// What is in a volume.
#[derive(Clone, Debug)]
pub enum Content {
    /// Nothing at first; what containers put there stays as long as the pod.
    Empty,
    /// These files, by relative path.
    Files(BTreeMap<String, Vec<u8>>),
}

/// A container to be started.
#[derive(Clone, Debug, Default)]
pub struct ContainerOrder {
    /// Name.
    pub name: String,
    /// Image, as the spec names it.
    pub image: Arc<str>,
    /// How many instances came before.
    pub attempt: u32,
    /// Entry point; the image's own when empty.
    pub command: Vec<String>,
    /// Arguments; the image's own when this and `command` are empty.
    pub args: Vec<String>,
    /// Working directory, if not the container's own.
    pub working_dir: String,
    /// Variables in order; later ones win.
    pub env: Vec<(String, String)>,
    /// Where volumes are wanted.
    pub mounts: Vec<Mount>,
    /// Requests and limits.
    pub resources: ResourceRequirements,
}

/// Where a volume is wanted.
#[derive(Clone, Debug, Default)]
pub struct Mount {
    /// Volume.
    pub volume: String,
    /// Path within the container.
    pub path: String,
    /// Path within the volume, if not all of it.
    pub sub_path: String,
}
