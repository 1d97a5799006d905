//! Answers in sentences.

use api_meta::Requirement;
use sched_core::{TaintEffect, TaintFact, Term};

use super::needs::Need;
use super::{Change, Group, Here, Why};

/// Groups of nodes named in a text; the rest is counted.
const GROUPS_MAX: usize = 8;

impl Why {
    /// Why here and why not there, a line each.
    pub fn placing(&self) -> Vec<String> {
        let mut out = Vec::new();
        if !self.gates.is_empty() {
            out.push(format!("nothing is decided while it has scheduling gates: {}", self.gates.join(", ")));
        }
        out.extend(self.here.as_ref().map(here));
        out.extend(self.not_there.iter().take(GROUPS_MAX).map(group));
        let more = self.not_there.len().saturating_sub(GROUPS_MAX);
        out.extend((more > 0).then(|| format!("and {more} groups of nodes more")));
        out
    }

    /// What would have to change, a line each.
    pub fn would_do(&self) -> Vec<String> {
        self.changes.iter().map(change).collect()
    }
}

fn here(here: &Here) -> String {
    let of = format!("{} of {} nodes would do", here.feasible, here.nodes);
    let Some(score) = here.score else {
        return format!("{}: it is there, but would not be placed there again now; {of}", here.node);
    };
    let scores: Vec<String> = here.scores.iter().map(|(rule, score)| format!("{rule} {score}")).collect();
    let next = here.next.as_ref().map_or(String::new(), |(node, s)| format!("; next is {node} with {s}"));
    let verb = if here.is_there { "it is there" } else { "the rules of nodes would put it there now" };
    let by = if scores.is_empty() { String::new() } else { format!(" ({})", scores.join(", ")) };
    format!("{}: {verb}; score {score}{by}, {of}{next}", here.node)
}

fn group(group: &Group) -> String {
    format!("{}: {} ({})", counted(group.nodes, &group.example), group.reasons.join(", "), group.rule)
}

fn change(change: &Change) -> String {
    let needs = match &change.needs[..] {
        [all @ .., last] if !all.is_empty() => format!("{} and {last}", all.join(", ")),
        one => one.concat(),
    };
    format!("{} would do {needs}", counted(change.nodes, &change.example))
}

/// `1 node (n1)`, `3 nodes (as n1)`.
fn counted(nodes: usize, example: &str) -> String {
    if nodes == 1 { format!("1 node ({example})") } else { format!("{nodes} nodes (as {example})") }
}

/// A need as the end of "… would do".
pub(super) fn need(need: &Need, node: &str) -> String {
    match need {
        Need::Less(resource, amount) => format!("with {} less {resource}", amount_of(resource, *amount)),
        Need::FewerPods => "with one pod less on it".to_owned(),
        Need::Tolerate(taint) => format!("if it tolerated taint {taint}"),
        Need::Uncordon => format!("if open again: kubectl uncordon {node}"),
        Need::Label(requirement) => match requirement.strip_prefix('!') {
            Some(label) => format!("without label {label}"),
            None => format!("with label {requirement}"),
        },
        Need::Named => "if it did not name other nodes".to_owned(),
        Need::Port(port) => format!("with host port {port} free"),
        Need::Skew(topology, 0) => format!("if it need not be spread over {topology}"),
        Need::Skew(topology, skew) => format!("with maxSkew {skew} over {topology}"),
        Need::Near(term) => format!("with {term}"),
        Need::Apart(term) => format!("without {term}"),
        Need::KeptAway(who) => format!("if {who} did not keep it away"),
        Need::Other(reason) => format!("but for: {reason}"),
    }
}

/// An amount in the unit in which people write it.
fn amount_of(resource: &str, amount: i64) -> String {
    const UNITS: [(&str, i64); 4] = [("Ti", 1 << 40), ("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)];
    let is_bytes = matches!(resource, "memory" | "ephemeral-storage") || resource.starts_with("hugepages-");
    match resource {
        "cpu" if amount % 1000 == 0 => (amount / 1000).to_string(),
        "cpu" => format!("{amount}m"),
        _ if is_bytes => {
            let unit = UNITS.iter().find(|(_, size)| amount % size == 0);
            unit.map_or_else(|| amount.to_string(), |(unit, size)| format!("{}{unit}", amount / size))
        }
        _ => amount.to_string(),
    }
}

/// `key=value:NoSchedule`.
pub(super) fn taint(taint: &TaintFact) -> String {
    let effect = match taint.effect {
        TaintEffect::NoSchedule => "NoSchedule",
        TaintEffect::PreferNoSchedule => "PreferNoSchedule",
        TaintEffect::NoExecute => "NoExecute",
    };
    let value = if taint.value.is_empty() { String::new() } else { format!("={}", taint.value) };
    format!("{}{value}:{effect}", taint.key)
}

/// A requirement as `kubectl get -l` writes it.
pub(super) fn requirement(requirement: &Requirement) -> String {
    match requirement {
        Requirement::In(key, values) if values.len() == 1 => format!("{key}={}", values[0]),
        Requirement::In(key, values) => format!("{key} in ({})", values.join(",")),
        Requirement::NotIn(key, values) if values.len() == 1 => format!("{key}!={}", values[0]),
        Requirement::NotIn(key, values) => format!("{key} notin ({})", values.join(",")),
        Requirement::Exists(key) => key.clone(),
        Requirement::Absent(key) => format!("!{key}"),
        Requirement::Greater(key, n) => format!("{key}>{n}"),
        Requirement::Less(key, n) => format!("{key}<{n}"),
    }
}

/// `a pod with app=x in its zone`.
pub(super) fn term(term: &Term) -> String {
    let all = term.pods.selector.iter().flat_map(|s| s.0.iter()).map(requirement).collect::<Vec<_>>();
    let with = if all.is_empty() { String::new() } else { format!(" with {}", all.join(",")) };
    format!("a pod{with} in its {}", term.topology)
}
