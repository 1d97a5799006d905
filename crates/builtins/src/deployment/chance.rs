//! Deployments under chance: any order of controllers, plans cut short or carried out twice, and the Deployment's own carried
//! out late. (A late creation of a pod has no fence; the set deletes the surplus. It is left out here.)

use api_core::{Deployment, Pod, ReplicaSet};
use api_meta::{Object, ObjectKey};
use reconcile::testing::Bench;
use reconcile::{Plan, Thinker};
use serde_json::{Value, json};
use stdx::{Rng, SeededRng};

use super::Deployments;
use super::tests::{active_and_available, deployment, rolling};
use crate::replicaset::ReplicaSets;

struct Chance {
    bench: Bench,
    key: ObjectKey,
    rng: SeededRng,
    /// Plans of the Deployment made earlier, to be carried out late.
    old: Vec<Plan>,
    checked: bool,
}

impl Chance {
    fn new(seed: u64, body: Value) -> Chance {
        let mut bench = Bench::new().with::<Deployments>().with::<ReplicaSets>();
        let key = bench.put(&Deployment::RESOURCE, body);
        Chance { bench, key, rng: SeededRng::new(seed), old: Vec::new(), checked: false }
    }

    fn below(&self, limit: usize) -> usize {
        usize::try_from(self.rng.next_u64() % u64::try_from(limit).unwrap()).unwrap()
    }

    /// Carries out a part of a plan, or all of it; a refusal ends it.
    fn carry_out(&mut self, plan: &Plan) {
        let cut = if self.below(3) == 0 { self.below(plan.actions.len() + 1) } else { plan.actions.len() };
        for action in &plan.actions[..cut] {
            if self.bench.act(action).is_err() {
                return;
            }
            self.check();
        }
    }

    fn check(&self) {
        if !self.checked {
            return;
        }
        let stored = self.bench.get(&Deployment::RESOURCE, &self.key).unwrap().clone();
        let deployment: Deployment = serde_json::from_value(stored).unwrap();
        let wanted = deployment.spec.replicas.unwrap();
        let budget = super::sets::budget(&deployment, wanted);
        let (active, available) = active_and_available(&self.bench);
        assert!(active <= i64::from(budget.total_max(wanted)), "{active} pods for {wanted} with {budget:?}");
        assert!(
            available >= i64::from(budget.available_min(wanted)),
            "{available} of {wanted} with {budget:?}"
        );
    }

    fn look<T: Thinker>(&mut self, key: &ObjectKey) {
        let Some(plan) = self.bench.plan::<T>(key) else { return };
        for _ in 0..=self.below(2) {
            self.carry_out(&plan);
        }
        if T::NAME == Deployments::NAME {
            self.old.push(plan);
        }
    }

    fn step(&mut self) {
        match self.below(7) {
            0 | 1 => {
                let key = self.key.clone();
                self.look::<Deployments>(&key);
            }
            2 | 3 => {
                let sets = self.bench.keys(&ReplicaSet::RESOURCE);
                if !sets.is_empty() {
                    let set = sets[self.below(sets.len())].clone();
                    self.look::<ReplicaSets>(&set);
                }
            }
            4 if !self.old.is_empty() => {
                let plan = self.old[self.below(self.old.len())].clone();
                self.carry_out(&plan);
            }
            5 => {
                let pods = self.bench.keys(&Pod::RESOURCE);
                if !pods.is_empty() {
                    let pod = pods[self.below(pods.len())].clone();
                    self.bench.kubelet_of(&pod);
                }
            }
            _ => self.bench.pass(1),
        }
        self.check();
    }

    /// Everything in order until nothing moves.
    fn settle(&mut self) {
        for _ in 0..200 {
            let before = self.bench.revision();
            let key = self.key.clone();
            let plan = self.bench.plan::<Deployments>(&key).unwrap();
            let _ = self.bench.apply(&plan);
            for set in self.bench.keys(&ReplicaSet::RESOURCE) {
                let plan = self.bench.plan::<ReplicaSets>(&set).unwrap();
                let _ = self.bench.apply(&plan);
            }
            self.bench.kubelet();
            self.check();
            if self.bench.revision() == before {
                return;
            }
        }
        panic!("the deployment does not settle");
    }
}

#[test]
fn budgets_hold_whatever_is_late_doubled_or_cut_short() {
    let strategies = [(json!(1), json!(0)), (json!(0), json!(2)), (json!("30%"), json!("30%"))];
    for seed in 0..36 {
        let (surge, unavailable) = strategies[usize::try_from(seed % 3).unwrap()].clone();
        let mut chance = Chance::new(seed, deployment(6, "x:1", rolling(surge, unavailable)));
        chance.settle();
        chance.checked = true;
        for image in ["x:2", "x:3", "x:1"] {
            let key = chance.key.clone();
            chance.bench.edit(&Deployment::RESOURCE, &key, |d| {
                d["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
            });
            for _ in 0..chance.below(120) {
                chance.step();
            }
        }
        chance.settle();
        let pods = chance.bench.list(&Pod::RESOURCE);
        assert_eq!(pods.len(), 6, "seed {seed}");
        assert!(pods.iter().all(|p| p["spec"]["containers"][0]["image"] == "x:1"), "seed {seed}");
    }
}
