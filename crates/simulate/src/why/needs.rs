//! From what is against a node to what would have to change for it to do.

use std::collections::BTreeMap;
use std::sync::Arc;

use api_meta::{Requirement, Selector};
use sched_core::{Demand, NodeInfo, NodeTerm, PodFact, Snapshot, Spread, TaintFact, Term, Unsatisfiable};
use sched_plugins::{Plain, Survey, Surveyed};
use serde::Serialize;

use super::words;

/// Up to so many nodes it is tried out which constraint of spreading would have to give how much; above it is only named.
const TRIED_NODES_MAX: usize = 2000;
/// Skews beyond this are not tried: without the constraint then.
const SKEW_MAX: i64 = 1 << 16;

/// A change that would open nodes, smallest first where amounts count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// How many nodes would do after it.
    pub nodes: usize,
    /// One of them: the first by name.
    pub example: String,
    /// What has to change, all of it: `with 200m less cpu`, `if it tolerated taint k=v:NoSchedule`.
    pub needs: Vec<String>,
}

/// One thing that has to change for one node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Need {
    /// The pod asks for so much less.
    Less(String, i64),
    /// The node holds one pod less.
    FewerPods,
    /// The pod tolerates the taint.
    Tolerate(String),
    /// The node is open again.
    Uncordon,
    /// The node meets the requirement, or the pod has it no more.
    Label(String),
    /// The pod names other nodes.
    Named,
    /// The port is free.
    Port(String),
    /// The constraint over this topology allows this skew; 0: it is not there.
    Skew(String, i64),
    /// Nothing like this is near enough.
    Near(String),
    /// Something like this is too near.
    Apart(String),
    /// These pods keep it away.
    KeptAway(String),
    /// A rule whose demands are not taken apart here.
    Other(String),
}

impl Need {
    /// Two needs of one kind differ at most in their amount.
    fn kind(&self) -> Need {
        match self {
            Need::Less(resource, _) => Need::Less(resource.clone(), 0),
            other => other.clone(),
        }
    }

    fn amount(&self) -> i64 {
        if let Need::Less(_, amount) = self { *amount } else { 0 }
    }
}

/// A pod nobody will have, and who was asked.
pub(super) struct Asked<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) plain: &'a Plain,
    pub(super) pod: &'a PodFact,
}

impl Asked<'_> {
    /// What would have to change, the least first: few needs before many, changes that open many nodes before others.
    pub(super) fn changes(&self, survey: &Survey) -> Vec<Change> {
        let mut by_kind: BTreeMap<Vec<Need>, Vec<(Vec<Need>, &str)>> = BTreeMap::new();
        let skews = self.skews(survey);
        for node in survey.nodes.iter().filter(|n| !n.does()) {
            let info = self.snapshot.node(node.slot);
            let mut needs = self.needs(node, info, &skews);
            needs.sort();
            needs.dedup();
            let kinds = needs.iter().map(Need::kind).collect();
            by_kind.entry(kinds).or_default().push((needs, &info.fact.name));
        }
        let mut all: Vec<(usize, Change)> =
            by_kind.into_iter().map(|(kinds, nodes)| (kinds.len(), smallest(nodes))).collect();
        // What cannot be taken apart helps nobody as long as something else can.
        all.sort_by_key(|(needs, change)| (*needs, std::cmp::Reverse(change.nodes)));
        all.into_iter().map(|(_, change)| change).collect()
    }

    fn needs(&self, node: &Surveyed, info: &NodeInfo, skews: &BTreeMap<String, i64>) -> Vec<Need> {
        let demand = &*self.pod.demand;
        let mut needs = Vec::new();
        for (rule, rejection) in &node.against {
            let before = needs.len();
            match *rule {
                "NodeUnschedulable" => needs.push(Need::Uncordon),
                "NodeName" => needs.push(Need::Named),
                "TaintToleration" => needs.extend(taints(demand, info)),
                "NodeAffinity" => labels(demand, info, &mut needs),
                "NodePorts" => needs.extend(ports(demand, info)),
                "NodeResourcesFit" => room(demand, info, &mut needs),
                "PodTopologySpread" => spreading(demand, info, skews, &mut needs),
                "InterPodAffinity" => self.neighbours(&rejection.reasons, info, &mut needs),
                _ => {}
            }
            if needs.len() == before {
                let reason = rejection.reasons.first().map_or("", |r| r.as_str());
                needs.push(Need::Other(format!("{reason} ({rule})")));
            }
        }
        needs
    }

    /// For each constraint that alone keeps nodes closed: the least skew that would open some; 0 when none would.
    fn skews(&self, survey: &Survey) -> BTreeMap<String, i64> {
        let mut out = BTreeMap::new();
        let uneven = |n: &&Surveyed| matches!(&n.against[..], [("PodTopologySpread", _)]);
        if self.snapshot.len() > TRIED_NODES_MAX || !survey.nodes.iter().any(|n| uneven(&n)) {
            return out;
        }
        for (at, spread) in self.pod.demand.spread.iter().enumerate() {
            if spread.unsatisfiable == Unsatisfiable::DoNotSchedule
                && let Some(skew) = self.least_skew(at, spread)
            {
                out.insert(spread.topology.to_string(), skew);
            }
        }
        out
    }

    fn least_skew(&self, at: usize, spread: &Spread) -> Option<i64> {
        let opens = |skew: i64| {
            let mut demand = (*self.pod.demand).clone();
            demand.spread[at].max_skew = skew;
            let pod = PodFact { demand: Arc::new(demand), ..self.pod.clone() };
            self.plain.survey(self.snapshot, &pod).nodes.iter().any(Surveyed::does)
        };
        let (mut closed, mut open) = (spread.max_skew, SKEW_MAX);
        if !opens(open) {
            return None;
        }
        while open - closed > 1 {
            let middle = closed + (open - closed) / 2;
            if opens(middle) { open = middle } else { closed = middle }
        }
        Some(open)
    }

    fn neighbours(&self, reasons: &[sched_core::Reason], info: &NodeInfo, needs: &mut Vec<Need>) {
        let demand = &*self.pod.demand;
        let says = |what: &str| reasons.iter().any(|r| r.as_str().contains(what));
        if says("existing pods anti-affinity") {
            needs.push(Need::KeptAway(self.guard(info)));
        } else if says("anti-affinity") {
            let broken = demand.apart.iter().filter(|t| self.has_near(t, info));
            needs.extend(broken.map(|t| Need::Apart(words::term(t))));
        } else {
            needs.extend(demand.near.iter().filter(|t| !self.has_near(t, info)).map(|t| {
                match info.fact.labels.contains_key(&*t.topology) {
                    true => Need::Near(words::term(t)),
                    false => Need::Label(t.topology.to_string()),
                }
            }));
        }
    }

    /// Whether a pod of the term is in the node's domain.
    fn has_near(&self, term: &Term, info: &NodeInfo) -> bool {
        let Some(domain) = info.fact.labels.get(&*term.topology) else { return false };
        let inside =
            self.snapshot.nodes().filter(|(_, n)| n.fact.labels.get(&*term.topology) == Some(domain));
        let spaces = self.snapshot.namespaces();
        inside
            .flat_map(|(_, n)| n.facts())
            .any(|p| term.pods.matches(&p.kin.namespace, &p.kin.labels, spaces))
    }

    /// A placed pod whose anti-affinity keeps this one off the node.
    fn guard(&self, info: &NodeInfo) -> String {
        let (kin, spaces) = (&self.pod.kin, self.snapshot.namespaces());
        let mut guards: Vec<String> = Vec::new();
        for (_, node) in self.snapshot.nodes() {
            for pod in node.facts() {
                let keeps = pod.demand.apart.iter().any(|t| {
                    let here = info.fact.labels.get(&*t.topology);
                    here.is_some()
                        && here == node.fact.labels.get(&*t.topology)
                        && t.pods.matches(&kin.namespace, &kin.labels, spaces)
                });
                guards.extend(keeps.then(|| pod.key().to_string()));
            }
        }
        guards.sort();
        match guards.len() {
            0 => "some pod".to_owned(),
            1 => format!("pod {}", guards[0]),
            n => format!("pod {} and {} more", guards[0], n - 1),
        }
    }
}

/// Of changes of one kind the one with the least amounts, and how many nodes it opens.
fn smallest(nodes: Vec<(Vec<Need>, &str)>) -> Change {
    let amounts = |needs: &[Need]| needs.iter().map(Need::amount).collect::<Vec<i64>>();
    let least = nodes.iter().map(|(needs, _)| amounts(needs)).min().unwrap_or_default();
    let opened = |needs: &[Need]| amounts(needs).iter().zip(&least).all(|(a, most)| a <= most);
    let mut opens: Vec<&(Vec<Need>, &str)> = nodes.iter().filter(|(needs, _)| opened(needs)).collect();
    opens.sort_by_key(|(_, name)| *name);
    let example = opens[0].1;
    let needs = opens[0].0.iter().map(|n| words::need(n, example)).collect();
    Change { nodes: opens.len(), example: example.to_owned(), needs }
}

fn taints<'a>(demand: &'a Demand, info: &'a NodeInfo) -> impl Iterator<Item = Need> + 'a {
    let repels = |t: &&TaintFact| t.effect.repels() && !demand.accepts(t);
    info.fact.taints.iter().filter(repels).map(|t| Need::Tolerate(words::taint(t)))
}

fn labels(demand: &Demand, info: &NodeInfo, needs: &mut Vec<Need>) {
    let unmet = |Selector(all): &Selector| -> Vec<Requirement> {
        all.iter().filter(|r| !r.matches(&info.fact.labels)).cloned().collect()
    };
    needs.extend(unmet(&demand.node_selector).iter().map(|r| Need::Label(words::requirement(r))));
    let Some(terms) = demand.node_terms.as_ref().filter(|ts| !ts.iter().any(|t| t.matches(&info.fact)))
    else {
        return;
    };
    let is_void = |t: &NodeTerm| t.broken || (t.labels.is_empty() && t.names.is_empty());
    let open = |t: &NodeTerm| {
        let labels = t.labels.iter().filter(|r| !r.matches(&info.fact.labels)).cloned().collect::<Vec<_>>();
        (labels, !t.names.is_empty())
    };
    // Of alternatives the one that is nearest.
    let nearest =
        terms.iter().filter(|t| !is_void(t)).map(open).min_by_key(|(labels, names)| (*names, labels.len()));
    match nearest {
        None => needs.push(Need::Other("its node affinity matches no node at all".to_owned())),
        Some((labels, named)) => {
            needs.extend(named.then_some(Need::Named));
            needs.extend(labels.iter().map(|r| Need::Label(words::requirement(r))));
        }
    }
}

fn ports<'a>(demand: &'a Demand, info: &'a NodeInfo) -> impl Iterator<Item = Need> + 'a {
    let taken = demand.ports.iter().filter(|w| info.ports.keys().any(|used| used.clashes(w)));
    taken.map(|p| Need::Port(format!("{}/{}", p.port, p.protocol)))
}

fn room(demand: &Demand, info: &NodeInfo, needs: &mut Vec<Need>) {
    if i64::try_from(info.pods.len()).is_ok_and(|n| n >= info.fact.pods_max) {
        needs.push(Need::FewerPods);
    }
    let (want, taken, have) = (&demand.requests, &info.requested, &info.fact.allocatable);
    let mut compare = |name: &str, want: i64, taken: i64, have: i64| {
        let over = want.saturating_sub(have.saturating_sub(taken));
        if want > 0 && over > 0 {
            needs.push(Need::Less(name.to_owned(), over));
        }
    };
    compare("cpu", want.cpu_milli, taken.cpu_milli, have.cpu_milli);
    compare("memory", want.memory, taken.memory, have.memory);
    compare("ephemeral-storage", want.ephemeral_storage, taken.ephemeral_storage, have.ephemeral_storage);
    for (name, amount) in &want.extended {
        compare(name, *amount, taken.extended(name), have.extended(name));
    }
}

fn spreading(demand: &Demand, info: &NodeInfo, skews: &BTreeMap<String, i64>, needs: &mut Vec<Need>) {
    let hard = demand.spread.iter().filter(|s| s.unsatisfiable == Unsatisfiable::DoNotSchedule);
    let hard: Vec<&Spread> = hard.collect();
    let missing = hard.iter().filter(|s| !info.fact.labels.contains_key(&*s.topology));
    let before = needs.len();
    needs.extend(missing.map(|s| Need::Label(s.topology.to_string())));
    if needs.len() > before {
        return;
    }
    // The one constraint that has to give, if one alone can; all of them otherwise.
    match skews.iter().min_by_key(|(_, skew)| **skew) {
        Some((topology, skew)) => needs.push(Need::Skew(topology.clone(), *skew)),
        None => needs.extend(hard.iter().map(|s| Need::Skew(s.topology.to_string(), 0))),
    }
}
