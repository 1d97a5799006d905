//! `NodeResourceTopology`: what a node's agent says about its CPUs, all of it in annotations.

use api_meta::{Object, ObjectMeta, Resource};
use serde::{Deserialize, Serialize};

/// `NodeResourceTopology` (topology.node.k8s.io/v1alpha1): only its annotations are read, by [`crate::cpu::NodeWords`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeResourceTopology {
    /// Metadata; named like its node.
    pub metadata: ObjectMeta,
}

impl Object for NodeResourceTopology {
    const RESOURCE: Resource = Resource::cluster(
        "topology.node.k8s.io",
        "v1alpha1",
        "noderesourcetopologies",
        "NodeResourceTopology",
    );

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn decode(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}
