//! Container images on nodes: where each is, and how large.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::Value;

use crate::{NodeFact, Slot};

/// An image on a node: one of its names, and its size in bytes.
pub type ImageFact = (Arc<str>, i64);

/// The images of a node's status, each name of an image apart; of a name that comes twice the first counts.
pub(crate) fn images_of(list: &[Value]) -> Vec<ImageFact> {
    let (mut out, mut seen) = (Vec::new(), BTreeSet::new());
    for image in list {
        let size = image["sizeBytes"].as_i64().unwrap_or(0);
        for name in image["names"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if seen.insert(name) {
                out.push((name.into(), size));
            }
        }
    }
    out
}

/// The name that a container runtime gives an image: with a tag, if it has none.
pub(crate) fn normalized(name: &str) -> Arc<str> {
    let last = |c: char| name.rfind(c).map_or(-1, |at| i64::try_from(at).unwrap_or(i64::MAX));
    if last(':') <= last('/') { format!("{name}:latest").into() } else { name.into() }
}

/// Which nodes have which images.
#[derive(Clone, Debug, Default)]
pub struct Images {
    nodes: HashMap<Arc<str>, BTreeMap<Slot, i64>>,
    version: u64,
}

impl Images {
    /// Whether no node tells of any.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Changes whenever a node's images do.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The nodes that have an image, with its size there.
    pub fn nodes_with(&self, name: &str) -> Option<&BTreeMap<Slot, i64>> {
        self.nodes.get(name)
    }

    /// A node has other images now. Names that other nodes have too are shared with them.
    pub(crate) fn follow(&mut self, slot: Slot, before: &[ImageFact], now: &mut NodeFact) {
        self.version += 1;
        for (name, _) in before {
            if let Some(nodes) = self.nodes.get_mut(name) {
                nodes.remove(&slot);
                if nodes.is_empty() {
                    self.nodes.remove(name);
                }
            }
        }
        for (name, size) in &mut now.images {
            if let Some((shared, _)) = self.nodes.get_key_value(name) {
                *name = shared.clone();
            }
            self.nodes.entry(name.clone()).or_default().insert(slot, *size);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_without_a_tag_mean_the_latest() {
        let of = |name: &str| normalized(name).to_string();
        assert_eq!(of("a"), "a:latest");
        assert_eq!(of("a:1"), "a:1");
        assert_eq!(of("host:5000/a"), "host:5000/a:latest");
        assert_eq!(of("host:5000/a:1"), "host:5000/a:1");
    }
}
