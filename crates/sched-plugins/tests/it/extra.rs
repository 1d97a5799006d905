//! Rules of others beside the built-in ones: devices with fractions, load, owners of hosts.

use std::collections::BTreeMap;

use sched_core::{Decision, NodeInfo, PodFact, Rejection, Slot};
use sched_plugins::Extra;
use serde_json::json;

use crate::world::{World, node, pod};

/// Hundredths of a device that are left per node; pods take thirty each and like full nodes.
struct Devices(BTreeMap<&'static str, i64>);

impl Extra for Devices {
    fn name(&self) -> &'static str {
        "Devices"
    }

    fn concerns(&self, pod: &PodFact) -> bool {
        pod.name.starts_with("device")
    }

    fn check(&self, _: &PodFact, _: Slot, node: &NodeInfo) -> Option<Rejection> {
        (self.0[&*node.fact.name] < 30).then(|| Rejection::resolvable("Insufficient devices"))
    }

    fn rate(&self, _: &PodFact, _: Slot, node: &NodeInfo) -> i64 {
        100 - self.0[&*node.fact.name]
    }

    fn weight(&self) -> i64 {
        10
    }
}

fn say(world: &mut World, name: &str, devices: &Devices) -> String {
    let fact = world.pod(&pod(name, json!({})));
    match world.engine.decide_with(&mut world.snapshot, &fact, &[devices]) {
        Decision::Bind(p) => {
            format!("{} {:?} {}", p.node, p.scores.last().expect("somebody scored"), p.feasible)
        }
        Decision::Refused(r) => r.message(),
    }
}

#[test]
fn an_extra_rule_filters_scores_and_explains_beside_the_built_in_ones() {
    let nodes = ["n1", "n2", "n3"].map(|name| node(name, json!({})));
    let mut world = World::new(&nodes);
    let devices = |left: [i64; 3]| Devices(["n1", "n2", "n3"].into_iter().zip(left).collect());
    assert_eq!(say(&mut world, "device", &devices([100, 40, 10])), r#"n2 ("Devices", 600) 2"#);
    assert_eq!(say(&mut world, "device", &devices([30, 40, 10])), r#"n1 ("Devices", 700) 2"#);
    assert_eq!(
        say(&mut world, "device", &devices([0, 29, 10])),
        "0/3 nodes are available: 3 Insufficient devices. preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod."
    );
    // A refusal is not remembered against a rule that may have changed its mind, and others are not asked.
    assert_eq!(say(&mut world, "device", &devices([0, 30, 10])), r#"n2 ("Devices", 700) 1"#);
    assert_eq!(say(&mut world, "plain", &devices([0, 0, 0])), r#"n1 ("NodeResourcesFit", 97) 3"#);
}
