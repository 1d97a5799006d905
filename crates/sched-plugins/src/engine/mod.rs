//! The fast evaluation of the rules.
//!
//! ```text
//! Classify  find the pod's class, or found it: equal demand and kin
//! Prove     the class was refused and nothing that could help has happened: refused again
//! Follow    take the nodes that changed since the class's last pod into its cells
//! Narrow    verdicts by domain: spreading, affinity, what placed pods forbid
//! Rate      scores that are brought into range over all feasible nodes
//! Choose    highest score, fewest pods, first name
//! Explain   only if nobody is left: why, per node
//! ```
//!
//! Every node takes part in every decision: cells are exact, so the choice is the exact maximum. [`Plain`](crate::Plain) gives
//! the same decisions slowly.

mod beside;
mod cell;
mod choose;
mod class;
mod explain;
mod extra;
mod images;
mod preempt;
mod rate;
mod row;
mod spread;
mod volumes;
mod wide;

use std::collections::HashMap;
use std::sync::Arc;

use sched_core::{Decision, Nominations, Placement, PodFact, Slot, Snapshot};

use crate::{Plain, Rules};
use beside::Barred;
use class::{Class, Proof};
use explain::{Inquiry, conflicting, refused, upfront};
pub use extra::Extra;
pub use preempt::{Budget, Futile, Preemption};
use rate::Rating;
use row::Row;
use volumes::Wanted;
pub use volumes::volume_plan;
use wide::{Filter, Pulls};

/// Greatest number of classes that are kept; beyond it the longest unused is dropped and founded anew when it is needed.
/// With it cells take at most 2.5 KiB per node.
const CLASSES_MAX: usize = 1280;

/// The rules with what is remembered of their answers. Follows one snapshot: give it no other.
pub struct Engine {
    rules: Rules,
    plain: Plain,
    classes: HashMap<(usize, usize), Box<Class>>,
    looks: u64,
    proven: u64,
    row: Row,
}

impl Engine {
    /// An engine with these rules.
    pub fn new(rules: Rules) -> Engine {
        assert!(rules.weights.are_in_range(), "weights out of range: {:?}", rules.weights);
        let plain = Plain::new(&rules);
        Engine { rules, plain, classes: HashMap::new(), looks: 0, proven: 0, row: Row::default() }
    }

    /// How many pods were refused without a look at any node, because nothing that could help had happened. Counts of nodes in
    /// such refusals are those of the look that found them.
    pub fn proven(&self) -> u64 {
        self.proven
    }

    /// Decides where the pod goes. Changes nothing but what is remembered.
    pub fn decide(&mut self, snapshot: &mut Snapshot, pod: &PodFact) -> Decision {
        self.decide_with(snapshot, pod, &[])
    }

    /// As [`decide`](Engine::decide), with more rules beside the built-in ones.
    pub fn decide_with(&mut self, snapshot: &mut Snapshot, pod: &PodFact, extras: &[&dyn Extra]) -> Decision {
        self.decide_beside(snapshot, pod, extras, &Nominations::none())
    }

    /// As [`decide_with`](Engine::decide_with), with pods that wait for room. A node does only if it does both with and without
    /// those of at least the pod's priority that wait for it; and the node that the pod itself waits for is taken at once when
    /// it does, whatever the others score. Both are kube-scheduler's ways.
    pub fn decide_beside(
        &mut self,
        snapshot: &mut Snapshot,
        pod: &PodFact,
        extras: &[&dyn Extra],
        beside: &Nominations,
    ) -> Decision {
        if snapshot.is_empty() {
            return Decision::Refused(refused(snapshot, pod));
        }
        // Nobody asks where a pod goes that has a place: no need to be fast.
        if pod.node.is_some() {
            return self.plain.decide(snapshot, pod);
        }
        let own = beside.node_of(&pod.uid).cloned();
        snapshot.tidy();
        snapshot.ranks();
        let extras: Vec<&dyn Extra> = extras.iter().copied().filter(|e| e.concerns(pod)).collect();
        let mut class = self.classify(snapshot, pod);
        snapshot.settle();
        let barred = if beside.is_empty() || (extras.is_empty() && class.is_proven(snapshot)) {
            Barred::new()
        } else {
            beside::barred(snapshot, pod, &mut class, &extras, beside)
        };
        let own = own.and_then(|node| snapshot.find(&node)).map(|(slot, _)| slot);
        let decision = self.look(snapshot, pod, &mut class, &extras, (&barred, own));
        self.keep(pod, class);
        decision
    }

    /// The pod's class.
    fn classify(&mut self, snapshot: &mut Snapshot, pod: &PodFact) -> Box<Class> {
        self.looks += 1;
        let kept = self.classes.remove(&address(pod));
        let mut class = kept.unwrap_or_else(|| Box::new(Class::new(pod, &self.rules)));
        class.resolve(snapshot, &self.rules);
        class.used = self.looks;
        class
    }

    /// Classes of pods that name their node are not worth keeping: each has a class of its own.
    fn keep(&mut self, pod: &PodFact, class: Box<Class>) {
        if class.pinned.is_some() {
            return;
        }
        self.classes.insert(address(pod), class);
        if self.classes.len() > CLASSES_MAX {
            let oldest = self.classes.iter().min_by_key(|(_, c)| c.used).map(|(at, _)| *at);
            oldest.and_then(|at| self.classes.remove(&at));
        }
    }

    fn look(
        &mut self,
        snapshot: &Snapshot,
        pod: &PodFact,
        class: &mut Class,
        extras: &[&dyn Extra],
        (barred, own): (&Barred, Option<Slot>),
    ) -> Decision {
        if class.pinned.as_ref().is_some_and(|names| names.is_empty()) {
            return Decision::Refused(conflicting(snapshot, pod));
        }
        let wanted = match Wanted::of(snapshot, pod) {
            Ok(wanted) => wanted,
            Err(against) => return Decision::Refused(upfront(snapshot, pod, against)),
        };
        if extras.is_empty()
            && let Some(proof) = class.proof.as_ref().filter(|p| p.stands(snapshot))
        {
            self.proven += 1;
            return Decision::Refused(proof.refusal.clone());
        }
        class.follow(snapshot);
        let open = class.open;
        if extras.is_empty()
            && let Some(proof) = class.proof.as_mut()
            && proof.still_stands(snapshot, open)
        {
            self.proven += 1;
            return Decision::Refused(proof.refusal.clone());
        }
        class.proof = None;
        class.follow_images(snapshot);
        let filters = wide::filters(snapshot, class);
        let pulls = wide::pulls(snapshot, class);
        let is_bare = extras.is_empty() && barred.is_empty() && wanted.is_none();
        let beside = Beside { extras, barred, wanted: wanted.as_ref() };
        if let Some(own) = own
            && let Some(placement) = {
                let pulls = wide::pulls(snapshot, class);
                self.place(snapshot, pod, class, (&filters, pulls), beside, Some(own))
            }
        {
            return Decision::Bind(placement);
        }
        if is_bare && self.is_simple(class, &filters, &pulls) {
            let ranks = snapshot.ranked().expect("asked for before the look");
            if let Some(slot) = choose::best_cell(&class.cells, snapshot.crowd(), ranks) {
                return Decision::Bind(self.place_simply(snapshot, class, slot));
            }
        } else if let Some(placement) = self.place(snapshot, pod, class, (&filters, pulls), beside, None) {
            return Decision::Bind(placement);
        }
        let wanted = wanted.as_ref();
        let found = Inquiry { snapshot, class, filters: &filters, extras, pod, barred, wanted }.explain();
        if is_bare && class.pinned.is_none() {
            let (refusal, is_local) = (found.refusal.clone(), found.is_local);
            class.proof = Some(Proof { refusal, generation: snapshot.generation(), is_local, futile: None });
        }
        Decision::Refused(found.refusal)
    }

    /// Whether the cells say all there is to say.
    fn is_simple(&self, class: &Class, filters: &[Filter<'_>], pulls: &Pulls<'_>) -> bool {
        let numbers = class.numbers.as_ref().expect("resolved before");
        class.pinned.is_none()
            && filters.is_empty()
            && pulls.is_empty()
            && numbers.soft.is_empty()
            && numbers.wishes.is_empty()
            && class.soft_taints.is_none()
            && class.liked.as_ref().is_none_or(|liked| !liked.any)
    }

    fn place_simply(&self, snapshot: &Snapshot, class: &Class, slot: Slot) -> Placement {
        let mut scores = Vec::with_capacity(3);
        if self.rules.weights.taint_toleration != 0 {
            scores.push(("TaintToleration", cell::SCORE_MAX * self.rules.weights.taint_toleration));
        }
        self.finish(snapshot, class, slot, scores, class.open)
    }

    /// Adds the local scores in their order.
    fn finish(
        &self,
        snapshot: &Snapshot,
        class: &Class,
        slot: Slot,
        mut scores: Vec<(&'static str, i64)>,
        feasible: usize,
    ) -> Placement {
        let room = &snapshot.rooms()[slot.index()];
        let (fit, balance) = class.ask.opinions();
        if fit {
            let wide = |rule: &str| rule != "TaintToleration" && rule != "NodeAffinity";
            let at = scores.iter().position(|(rule, _)| wide(rule)).unwrap_or(scores.len());
            scores.insert(at, ("NodeResourcesFit", class.ask.rate_fit(room)));
        }
        if balance {
            let at = scores.iter().position(|(rule, _)| *rule == "ImageLocality").unwrap_or(scores.len());
            scores.insert(at, ("NodeResourcesBalancedAllocation", class.ask.rate_balance(room)));
        }
        Placement {
            node: snapshot.node(slot).fact.name.clone(),
            score: scores.iter().map(|(_, score)| score).sum(),
            scores,
            feasible,
            nodes: snapshot.len(),
        }
    }

    fn place(
        &mut self,
        snapshot: &Snapshot,
        pod: &PodFact,
        class: &Class,
        (filters, pulls): (&[Filter<'_>], Pulls<'_>),
        Beside { extras, barred, wanted }: Beside<'_>,
        only: Option<Slot>,
    ) -> Option<Placement> {
        let row = &mut self.row;
        match &class.pinned {
            None => row.fill(class),
            Some(names) => {
                let slots = names.iter().filter_map(|name| snapshot.find(name)).map(|(slot, _)| slot);
                row.fill_with(snapshot.slots(), slots.map(|slot| (slot, class.cell_of(snapshot, slot))));
            }
        }
        row.narrow(filters);
        barred.keys().for_each(|slot| row.take_out(*slot));
        if let Some(only) = only {
            row.keep_only(only);
        }
        if let Some(wanted) = wanted {
            row.narrow_by(|slot| wanted.against(snapshot.node(slot)).is_none());
        }
        extra::narrow(row, snapshot, pod, extras);
        let feasible = row.feasible();
        if feasible == 0 {
            return None;
        }
        let parts = Rating { snapshot, class, weights: &self.rules.weights }.rate(row, pulls);
        let extra = extra::rate(row, snapshot, pod, extras);
        let ranks = snapshot.ranked().expect("asked for before the look");
        let slot = match &extra {
            None => choose::best_cell(row.cells(), snapshot.crowd(), ranks)?,
            Some(extra) => choose::best_of(extra.totals(row), snapshot.crowd(), ranks)?,
        };
        let scores = parts.iter().map(|part| (part.rule, part.score(slot))).collect();
        let mut placement = self.finish(snapshot, class, slot, scores, feasible);
        if let Some(extra) = extra {
            placement.scores.extend(extra.scores(slot));
            placement.score = placement.scores.iter().map(|(_, score)| score).sum();
        }
        Some(placement)
    }
}

/// What one decision heeds beside the class's own rules.
#[derive(Clone, Copy)]
struct Beside<'a> {
    extras: &'a [&'a dyn Extra],
    barred: &'a Barred,
    wanted: Option<&'a Wanted<'a>>,
}

/// Equal demands and kins are one value each, made by one interner: their addresses tell classes apart. A class holds both, so
/// that no address is used again.
fn address(pod: &PodFact) -> (usize, usize) {
    (Arc::as_ptr(&pod.demand) as usize, Arc::as_ptr(&pod.kin) as usize)
}

impl Proof {
    /// Nothing that could help has happened.
    pub(crate) fn stands(&self, snapshot: &Snapshot) -> bool {
        let helps = self.refusal.wake;
        snapshot.objects() <= self.generation && !snapshot.happened_since(self.generation, helps)
    }

    /// Something happened that could have helped, but each node by itself still says no.
    fn still_stands(&mut self, snapshot: &Snapshot, open: usize) -> bool {
        let stands = self.is_local && open == 0 && snapshot.objects() <= self.generation;
        if stands {
            self.generation = snapshot.generation();
            self.futile = None;
        }
        stands
    }
}
