//! Node list and pod list.

use std::collections::HashMap;

use sched_device::{DEVICES_MAX, Mix, ModelNames, Node, Shape, WHOLE};

use crate::text::{Csv, Misread, Row, Source};

/// Greatest number of pods on a node of the published experiment.
const PODS_MAX: u32 = 1001;
/// Largest amounts read: a thousand times the largest machine there is, so that sums stay exact.
const AMOUNT_MAX: i64 = 1 << 40;

/// The cluster and the pods that may arrive.
#[derive(Clone, Debug)]
pub struct Trace {
    /// Names of nodes, and the empty nodes.
    pub nodes: Vec<(String, Node)>,
    /// Names of pods, and what they ask for.
    pub pods: Vec<(String, Shape)>,
    /// Device models.
    pub models: ModelNames,
    node_at: HashMap<String, usize>,
    pod_at: HashMap<String, usize>,
}

impl Trace {
    /// Reads both lists. Columns may stand in any order; `gpu_spec` and all columns that are not needed may be missing.
    ///
    /// # Errors
    /// The first line that cannot be used.
    pub fn read(nodes: Source<'_>, pods: Source<'_>) -> Result<Trace, Misread> {
        let mut trace = Trace {
            nodes: Vec::new(),
            pods: Vec::new(),
            models: ModelNames::default(),
            node_at: HashMap::new(),
            pod_at: HashMap::new(),
        };
        for row in Csv::new(nodes, &["sn", "cpu_milli", "memory_mib", "gpu", "model"])?.rows() {
            trace.take_node(&row?)?;
        }
        for row in Csv::new(pods, &["name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli"])?.rows() {
            trace.take_pod(&row?)?;
        }
        match trace.nodes.is_empty() {
            true => Err(nodes.misread(0, "", "no nodes")),
            false => Ok(trace),
        }
    }

    fn take_node(&mut self, row: &Row<'_>) -> Result<(), Misread> {
        let name = named(row, "sn")?;
        let devices = row.number("gpu", 0, DEVICES_MAX as i64)?;
        let model = self.models.model(row.text("model")).map_err(|e| row.wrong("model", e.to_string()))?;
        let node = Node::new(
            row.number("cpu_milli", 0, AMOUNT_MAX)?,
            row.number("memory_mib", 0, AMOUNT_MAX)?,
            usize::try_from(devices).expect("within DEVICES_MAX"),
            model,
            PODS_MAX,
        );
        let node = node.map_err(|e| row.wrong("gpu", e.to_string()))?;
        if self.node_at.insert(name.clone(), self.nodes.len()).is_some() {
            return Err(row.wrong("sn", format!("node {name:?} is there twice")));
        }
        self.nodes.push((name, node));
        Ok(())
    }

    fn take_pod(&mut self, row: &Row<'_>) -> Result<(), Misread> {
        let name = named(row, "name")?;
        let devices = row.number("num_gpu", 0, DEVICES_MAX as i64)?;
        let milli = row.number("gpu_milli", 0, i64::from(WHOLE))?;
        if (devices == 0) != (milli == 0) {
            return Err(
                row.wrong("gpu_milli", format!("{milli} of {devices} devices: both or none must be 0"))
            );
        }
        let spec = row.text("gpu_spec");
        let shape = Shape {
            cpu_milli: row.number("cpu_milli", 0, AMOUNT_MAX)?,
            memory_mib: row.number("memory_mib", 0, AMOUNT_MAX)?,
            devices: u8::try_from(devices).expect("within DEVICES_MAX"),
            milli: u16::try_from(milli).expect("within 1000"),
            models: self.models.models(spec).map_err(|e| row.wrong("gpu_spec", e.to_string()))?,
        };
        if self.pod_at.insert(name.clone(), self.pods.len()).is_some() {
            return Err(row.wrong("name", format!("pod {name:?} is there twice")));
        }
        self.pods.push((name, shape));
        Ok(())
    }

    /// Index of a node.
    pub fn node(&self, name: &str) -> Option<usize> {
        self.node_at.get(name).copied()
    }

    /// Index of a pod. A name that ends in `-tuned-N` is a clone of the pod before it.
    pub fn pod(&self, name: &str) -> Option<usize> {
        let known = |name: &str| self.pod_at.get(name).copied();
        known(name).or_else(|| name.rsplit_once("-tuned-").and_then(|(of, _)| known(of)))
    }

    /// The typical pods of the list.
    pub fn mix(&self) -> Mix {
        Mix::typical(self.pods.iter().map(|(_, shape)| *shape), &self.models)
    }

    /// Thousandths of all devices.
    pub fn devices_milli(&self) -> i64 {
        self.nodes.iter().map(|(_, node)| node.whole.left_total()).sum()
    }
}

fn named(row: &Row<'_>, column: &str) -> Result<String, Misread> {
    match row.text(column) {
        "" => Err(row.wrong(column, "is empty")),
        name => Ok(name.to_owned()),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const NODES: &str = "sn,cpu_milli,memory_mib,gpu,model\n\
        n0,64000,262144,2,P100\nn1,96000,393216,8,G2\nn2,32000,65536,0,\n";
    pub(crate) const PODS: &str = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos\n\
        p0,12000,16384,1,1000,,LS\np1,6000,12288,1,460,,LS\np2,8000,30517,0,0,,BE\np3,4000,8192,2,1000,G2,LS\n";

    pub(crate) fn read(nodes: &str, pods: &str) -> Result<Trace, Misread> {
        Trace::read(Source { name: "nodes.csv", text: nodes }, Source { name: "pods.csv", text: pods })
    }

    #[test]
    fn lists_are_read_and_clones_are_found_by_the_part_before() {
        let trace = read(NODES, PODS).unwrap();
        assert_eq!((trace.nodes.len(), trace.pods.len(), trace.devices_milli()), (3, 4, 10_000));
        assert_eq!((trace.pod("p3"), trace.pod("p1-tuned-12"), trace.pod("p9")), (Some(3), Some(1), None));
    }

    #[test]
    fn the_column_of_models_may_be_missing() {
        let pods = "name,cpu_milli,memory_mib,num_gpu,gpu_milli\np0,1,1,1,1000\n";
        assert_eq!(read(NODES, pods).unwrap().pods[0].1.models, sched_device::Models::ANY);
    }

    #[test]
    fn bad_lines_are_named_with_their_field() {
        let told = |nodes: &str, pods: &str| read(nodes, pods).unwrap_err().to_string();
        assert_eq!(told(&NODES.replace(",8,", ",80,"), PODS), "nodes.csv:3: gpu: 80 is not within 0..=16");
        assert_eq!(told(NODES, &PODS.replace("p1", "p0")), "pods.csv:3: name: pod \"p0\" is there twice");
        assert_eq!(
            told(NODES, &PODS.replace("1,460", "0,460")),
            "pods.csv:3: gpu_milli: 460 of 0 devices: both or none must be 0"
        );
        assert_eq!(told("sn,cpu_milli,memory_mib,gpu,model\n", PODS), "nodes.csv: no nodes");
    }
}
