//! In which order nodes win among equals and pods arrive.

use sched_device::Shape;
use stdx::{Rng, SeededRng};

use super::Trace;
use crate::text::{Misread, Source};

/// One arrangement of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// What it is called: the seed it was made with.
    pub seed: u64,
    /// Nodes by index; on equal score the earliest wins.
    pub nodes: Vec<usize>,
    /// Arriving pods by index; clones are the same index again.
    pub pods: Vec<usize>,
}

impl Order {
    /// Reads recorded orders: one name per line.
    ///
    /// # Errors
    /// The first name that is not in the trace, and nodes named twice.
    pub fn read(trace: &Trace, seed: u64, nodes: Source<'_>, pods: Source<'_>) -> Result<Order, Misread> {
        let node_at = lines(nodes, |name| {
            trace.node(name).ok_or_else(|| format!("no node {name:?} in the node list"))
        })?;
        let mut seen = vec![false; trace.nodes.len()];
        for (line, at) in node_at.iter().enumerate() {
            if std::mem::replace(&mut seen[*at], true) {
                return Err(nodes.misread(
                    line + 1,
                    "",
                    format!("node {:?} is there twice", trace.nodes[*at].0),
                ));
            }
        }
        let pods =
            lines(pods, |name| trace.pod(name).ok_or_else(|| format!("no pod {name:?} in the pod list")))?;
        Ok(Order { seed, nodes: node_at, pods })
    }

    /// Draws an order: nodes shuffled; pods shuffled, then drawn again with replacement until `percent` of the devices'
    /// capacity is asked for. A list that asks for more than that is cut there.
    pub fn drawn(trace: &Trace, seed: u64, percent: u32) -> Order {
        let rng = SeededRng::new(seed);
        let nodes = shuffled(trace.nodes.len(), &rng);
        let wanted = trace.devices_milli() * i64::from(percent) / 100;
        let mut pods = Vec::new();
        let mut asked = 0;
        let mut take = |at: usize, pods: &mut Vec<usize>| {
            let shape: &Shape = &trace.pods[at].1;
            asked += shape.milli_total();
            pods.push(at);
            asked < wanted
        };
        let listed = shuffled(trace.pods.len(), &rng);
        let mut goes_on = listed.into_iter().all(|at| take(at, &mut pods));
        // A list without devices can ask for no share of them: it arrives once.
        while goes_on && trace.pods.iter().any(|(_, shape)| shape.devices > 0) {
            goes_on = take(below(trace.pods.len(), &rng), &mut pods);
        }
        Order { seed, nodes, pods }
    }
}

fn lines(source: Source<'_>, find: impl Fn(&str) -> Result<usize, String>) -> Result<Vec<usize>, Misread> {
    let names = source.text.lines().enumerate().map(|(at, l)| (at, l.trim())).filter(|(_, l)| !l.is_empty());
    names.map(|(at, name)| find(name).map_err(|why| source.misread(at + 1, "", why))).collect()
}

fn below(count: usize, rng: &dyn Rng) -> usize {
    (rng.next_u64() % count as u64) as usize
}

fn shuffled(count: usize, rng: &dyn Rng) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    for at in (1..count).rev() {
        order.swap(at, below(at + 1, rng));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::super::trace::tests::{NODES, PODS, read};
    use super::*;

    fn source<'a>(name: &'a str, text: &'a str) -> Source<'a> {
        Source { name, text }
    }

    #[test]
    fn recorded_orders_are_read_by_name() {
        let trace = read(NODES, PODS).unwrap();
        let order =
            Order::read(&trace, 1, source("n", "n2\nn0\n"), source("p", "p1\np1-tuned-0\np0\n")).unwrap();
        assert_eq!((order.nodes, order.pods), (vec![2, 0], vec![1, 1, 0]));
        let told = |nodes, pods| {
            Order::read(&trace, 1, source("n", nodes), source("p", pods)).unwrap_err().to_string()
        };
        assert_eq!(told("n0\nnx\n", ""), "n:2: no node \"nx\" in the node list");
        assert_eq!(told("n0\nn0\n", ""), "n:2: node \"n0\" is there twice");
        assert_eq!(told("n0\n", "p0\n\npx\n"), "p:3: no pod \"px\" in the pod list");
    }

    #[test]
    fn drawn_orders_reach_the_load_and_depend_on_the_seed_alone() {
        let trace = read(NODES, PODS).unwrap();
        let order = Order::drawn(&trace, 7, 130);
        assert_eq!(order, Order::drawn(&trace, 7, 130));
        assert_ne!(order, Order::drawn(&trace, 8, 130));
        let asked: i64 = order.pods.iter().map(|p| trace.pods[*p].1.milli_total()).sum();
        assert!((13_000..13_000 + 2000).contains(&asked), "{asked}");
        assert!((0..4).all(|p| order.pods.contains(&p)), "every pod of the list arrives once");
    }
}
