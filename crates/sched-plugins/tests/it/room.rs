//! No node is ever given more than it has.

use std::sync::Arc;

use proptest::prelude::*;
use sched_core::{Decision, Snapshot};
use serde_json::json;

use crate::world::{World, merge, node, pod};

fn within_bounds(snapshot: &Snapshot) -> Result<(), String> {
    for (_, n) in snapshot.nodes() {
        let (have, taken) = (&n.fact.allocatable, &n.requested);
        let fits = taken.cpu_milli <= have.cpu_milli
            && taken.memory <= have.memory
            && taken.ephemeral_storage <= have.ephemeral_storage
            && taken.extended.iter().all(|(name, amount)| *amount <= have.extended(name))
            && i64::try_from(n.pods.len()).is_ok_and(|pods| pods <= n.fact.pods_max);
        if !fits {
            return Err(format!("{} holds {taken:?} of {have:?}", n.fact.name));
        }
        let sum: i64 = n.facts().map(|p| p.demand.requests.cpu_milli).sum();
        if sum != taken.cpu_milli {
            return Err(format!("{} counts {} of {sum}", n.fact.name, taken.cpu_milli));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn placed_pods_never_exceed_what_a_node_has(
        sizes in proptest::collection::vec((1..9u32, 1..9u32, 0..3u32, any::<bool>()), 1..80),
        cpus in proptest::collection::vec(1..9u32, 1..6),
    ) {
        let nodes: Vec<_> = cpus.iter().enumerate().map(|(i, cpu)| {
            node(&format!("n{i}"), json!({"status": {"allocatable": {"cpu": cpu.to_string(), "a.b/c": "3"}}}))
        }).collect();
        let mut world = World::new(&nodes);
        let mut placed: Vec<Arc<str>> = Vec::new();
        for (i, (cpu, memory, extra, leaves)) in sizes.iter().enumerate() {
            let mut wants = json!({"cpu": format!("{}m", cpu * 250), "memory": format!("{}Mi", memory * 300)});
            if *extra > 0 {
                merge(&mut wants, json!({"a.b/c": extra.to_string()}));
            }
            let json = pod(&format!("p{i}"), crate::world::requests(wants));
            let fact = world.pod(&json);
            match world.engine.decide(&mut world.snapshot, &fact) {
                Decision::Bind(p) => {
                    placed.push(fact.uid.clone());
                    world.snapshot.assume(Arc::new(fact), &p.node);
                }
                Decision::Refused(r) => prop_assert!(!r.groups.is_empty()),
            }
            if *leaves && !placed.is_empty() {
                world.snapshot.remove(&placed.remove(0));
            }
            prop_assert_eq!(within_bounds(&world.snapshot), Ok(()));
        }
    }
}
