//! Which pods come first: to be deleted, to be updated. Order is by structs, most important field first, name last.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use api_core::Pod;
use api_meta::{LabelSelector, Selector};
use api_workload::{PriorityStrategy, ScatterTerm, names};
use stdx::Time;

/// How dispensable a pod is: the smallest goes first (as OpenKruise's `ActivePodsWithRanks`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Worth {
    is_assigned: bool,
    phase: u8,
    is_available: bool,
    is_ready: bool,
    deletion_cost: i32,
    rank: Reverse<u64>,
    ready_since: Reverse<Since>,
    restarts: Reverse<i32>,
    created: Reverse<Since>,
    name: String,
}

/// A moment; an absent one is later than all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Since {
    At(Time),
    Never,
}

impl Since {
    fn of(time: Option<Time>) -> Since {
        time.map_or(Since::Never, Since::At)
    }
}

impl Worth {
    /// The worth of a pod for updates, where neither cost nor place counts (as kube-controller-manager's `ActivePods`).
    pub fn plain(pod: &Pod) -> Worth {
        Worth { deletion_cost: 0, ..Worth::of(pod, pod.is_ready(), 0) }
    }

    /// The worth of a pod. `rank` is greater for pods whose place is crowded, see [`ranks`].
    pub fn of(pod: &Pod, is_available: bool, rank: u64) -> Worth {
        let ready = pod.condition("Ready").filter(|c| c.status == "True");
        let restarts = pod.status.container_statuses.iter().map(|s| s.restart_count).max();
        Worth {
            is_assigned: !pod.spec.node_name.is_empty(),
            phase: match pod.status.phase.as_str() {
                "Unknown" => 1,
                "Running" => 2,
                _ => 0,
            },
            is_available,
            is_ready: ready.is_some(),
            deletion_cost: deletion_cost(pod),
            rank: Reverse(rank),
            ready_since: Reverse(Since::of(ready.and_then(|c| c.last_transition_time))),
            restarts: Reverse(restarts.unwrap_or(0)),
            created: Reverse(Since::of(pod.metadata.creation_timestamp)),
            name: pod.metadata.name.clone(),
        }
    }
}

/// The deletion cost asked for; 0 when absent or not plainly written (`+10`, `08`).
pub fn deletion_cost(pod: &Pod) -> i32 {
    let Some(text) = pod.metadata.annotations.get(names::DELETION_COST) else { return 0 };
    let first = text.bytes().next().unwrap_or(b'+');
    let is_plain = text == "0" || first == b'-' || (b'1'..=b'9').contains(&first);
    if is_plain { text.parse().unwrap_or(0) } else { 0 }
}

/// Pods in the order in which they are dispensable.
pub fn by_worth(pods: &[Arc<Pod>], is_available: impl Fn(&Pod) -> bool, ranks: &Ranks) -> Vec<Arc<Pod>> {
    let mut sorted = pods.to_vec();
    sorted.sort_by_cached_key(|p| Worth::of(p, is_available(p), ranks.of(p)));
    sorted
}

/// How crowded the places of pods are.
#[derive(Clone, Debug, Default)]
pub struct Ranks(BTreeMap<String, u64>);

impl Ranks {
    fn of(&self, pod: &Pod) -> u64 {
        self.0.get(&pod.metadata.name).copied().unwrap_or(0)
    }
}

/// Ranks by place: of n pods in one place the most dispensable has the highest rank and the last one the lowest, so that
/// crowded places are thinned first. Places are nodes, or the domains of `topologies` when there are any; several
/// topologies add up. `labels_of` gives the labels of a node.
pub fn ranks<'a>(
    pods: &[Arc<Pod>],
    topologies: &[String],
    labels_of: impl Fn(&str) -> Option<&'a BTreeMap<String, String>>,
) -> Ranks {
    let node_of = |p: &Pod| Some(p.spec.node_name.clone()).filter(|n| !n.is_empty());
    let by_node = rank_in(pods, &Ranks::default(), 1, node_of);
    if topologies.is_empty() {
        return by_node;
    }
    let mut total = Ranks::default();
    for topology in topologies {
        let domain = |p: &Pod| labels_of(&p.spec.node_name)?.get(topology).cloned();
        let inner = if topology == "kubernetes.io/hostname" { Ranks::default() } else { by_node.clone() };
        for (name, rank) in rank_in(pods, &inner, 0, domain).0 {
            *total.0.entry(name).or_default() += rank;
        }
    }
    total
}

/// Ranks within each place; the last `spared` pods of a place have none.
fn rank_in(pods: &[Arc<Pod>], inner: &Ranks, spared: usize, place: impl Fn(&Pod) -> Option<String>) -> Ranks {
    let mut places: BTreeMap<String, Vec<Arc<Pod>>> = BTreeMap::new();
    for pod in pods {
        if let Some(place) = place(pod) {
            places.entry(place).or_default().push(pod.clone());
        }
    }
    let mut ranks = Ranks::default();
    for crowd in places.values() {
        let sorted = by_worth(crowd, Pod::is_ready, inner);
        let ranked = sorted.len().saturating_sub(spared);
        for (i, pod) in sorted.iter().take(ranked).enumerate() {
            ranks.0.insert(pod.metadata.name.clone(), (ranked - i) as u64);
        }
    }
    ranks
}

/// Puts pods with the highest priority first; others keep their order.
pub fn by_priority(pods: &mut [Arc<Pod>], strategy: &PriorityStrategy) {
    let weights: Vec<(i64, Selector)> = strategy
        .weight_priority
        .iter()
        .filter_map(|w| Some((i64::from(w.weight), non_empty(&w.match_selector)?)))
        .collect();
    if !strategy.weight_priority.is_empty() {
        let weight = |p: &Pod| -> i64 {
            weights.iter().filter(|(_, s)| s.matches(&p.metadata.labels)).map(|(w, _)| w).sum()
        };
        pods.sort_by_key(|p| Reverse(weight(p)));
    } else if !strategy.order_priority.is_empty() {
        pods.sort_by_key(|p| order_of(p, strategy));
    }
}

fn non_empty(selector: &LabelSelector) -> Option<Selector> {
    selector.selector().ok().filter(|s| !s.is_empty())
}

/// (which label, number in its value, greatest first); pods without any of the labels come first, as in OpenKruise.
fn order_of(pod: &Pod, strategy: &PriorityStrategy) -> (i64, Reverse<i64>) {
    for (level, key) in (0_i64..).zip(&strategy.order_priority) {
        if let Some(value) = pod.metadata.labels.get(&key.ordered_key) {
            let digits = value.len() - value.trim_end_matches(|c: char| c.is_ascii_digit()).len();
            return (level, Reverse(value[value.len() - digits..].parse().unwrap_or(0)));
        }
    }
    (-1, Reverse(0))
}

/// Spreads the pods that match a term evenly among the others; several terms one after the other, the one with most
/// pods first.
pub fn scatter(pods: Vec<Arc<Pod>>, all: &[Arc<Pod>], terms: &[ScatterTerm]) -> Vec<Arc<Pod>> {
    let is_match = |p: &Pod, t: &ScatterTerm| p.metadata.labels.get(&t.key) == Some(&t.value);
    let mut counted: Vec<_> =
        terms.iter().map(|t| (pods.iter().filter(|p| is_match(p, t)).count(), t)).collect();
    counted.sort_by_key(|(count, _)| Reverse(*count));
    counted.into_iter().fold(pods, |pods, (_, term)| {
        let total = all.iter().filter(|p| is_match(p, term)).count();
        scatter_one(pods, |p| is_match(p, term), (total, all.len() - total))
    })
}

/// One term. The last matching pod stays last, so that the whole update ends with one; before it come groups of
/// matching and other pods. When fewer pods are waiting than there are, the density of the whole set decides the groups.
fn scatter_one(pods: Vec<Arc<Pod>>, is_match: impl Fn(&Pod) -> bool, total: (usize, usize)) -> Vec<Arc<Pod>> {
    let order = pods.clone();
    let (mut matched, unmatched): (Vec<_>, Vec<_>) = pods.into_iter().partition(|p| is_match(p));
    if matched.len() <= 1 || unmatched.len() <= 1 {
        return order;
    }
    let Some(last) = matched.pop() else { return order };
    let (total_matched, total_unmatched) = (total.0.saturating_sub(1), total.1);
    let waiting = Group::of(matched.len(), unmatched.len());
    let (group, skip) = if total_unmatched * matched.len() >= unmatched.len() * total_matched {
        (waiting, 0)
    } else {
        let mut group = Group::of(total_matched, total_unmatched);
        group.count = (matched.len() / group.matched).min(unmatched.len() / group.unmatched);
        (group, unmatched.len() - group.count * group.unmatched)
    };
    let (mut matched, mut unmatched) = (matched.into_iter(), unmatched.into_iter());
    let mut out: Vec<_> = unmatched.by_ref().take(skip).collect();
    for _ in 0..group.count {
        out.extend(matched.by_ref().take(group.matched));
        out.extend(unmatched.by_ref().take(group.unmatched));
    }
    out.extend(matched);
    out.extend(unmatched);
    out.push(last);
    out
}

#[derive(Clone, Copy)]
struct Group {
    count: usize,
    matched: usize,
    unmatched: usize,
}

impl Group {
    fn of(matched: usize, unmatched: usize) -> Group {
        let count = matched.min(unmatched).max(1);
        let rounded = |n: usize| ((2 * n + count) / (2 * count)).max(1);
        Group { count, matched: rounded(matched), unmatched: rounded(unmatched) }
    }
}

#[cfg(test)]
mod tests {
    use api_meta::Condition;
    use api_workload::{OrderPriority, WeightPriority};

    use super::*;

    /// `name [node] [label=value]… [flag]…`: `ready@N`, `pending`, `cost=N`, `restarts`.
    fn pod(line: &str) -> Arc<Pod> {
        let mut words = line.split_whitespace();
        let mut pod = Pod::default();
        pod.metadata.name = words.next().unwrap().to_owned();
        pod.status.phase = "Running".into();
        pod.metadata.creation_timestamp = Some(Time::from_secs(5));
        for word in words {
            match word.split_once(['=', '@']) {
                Some(("node", node)) => pod.spec.node_name = node.to_owned(),
                Some(("cost", cost)) => {
                    pod.metadata.annotations.insert(names::DELETION_COST.into(), cost.into());
                }
                Some(("ready", at)) => pod.status.conditions.push(Condition {
                    r#type: "Ready".into(),
                    status: "True".into(),
                    last_transition_time: Some(Time::from_secs(at.parse().unwrap())),
                    ..Condition::default()
                }),
                Some(("age", at)) => {
                    pod.metadata.creation_timestamp = Some(Time::from_secs(at.parse().unwrap()))
                }
                Some((key, value)) => {
                    pod.metadata.labels.insert(key.to_owned(), value.to_owned());
                }
                None => pod.status.phase = word.to_owned(),
            }
        }
        Arc::new(pod)
    }

    fn pods(text: &str) -> Vec<Arc<Pod>> {
        text.trim().lines().map(pod).collect()
    }

    fn names_of(pods: &[Arc<Pod>]) -> String {
        pods.iter().map(|p| p.metadata.name.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_most_dispensable_pod_comes_first() {
        let mut all = pods(
            "h node=n ready@10
             g node=n ready@20
             f node=n ready@20 cost=-5
             e node=n
             d node=n Unknown
             c node=n Pending
             b ready@10
             a Pending",
        );
        let expected = "a b c d e f g h";
        assert_eq!(names_of(&by_worth(&all, Pod::is_ready, &Ranks::default())), expected);
        all.reverse();
        assert_eq!(names_of(&by_worth(&all, Pod::is_ready, &Ranks::default())), expected);
    }

    #[test]
    fn a_cost_that_is_not_plain_counts_as_none() {
        let cost = |text: &str| deletion_cost(&pod(&format!("a cost={text}")));
        assert_eq!(
            [cost("10"), cost("-3"), cost("0"), cost("+10"), cost("08"), cost("x")],
            [10, -3, 0, 0, 0, 0]
        );
    }

    #[test]
    fn crowded_nodes_and_domains_are_thinned_first() {
        let all = pods(
            "a node=n1 ready@1
             b node=n1 ready@1
             c node=n1 ready@1
             d node=n2 ready@1
             e node=n3 ready@1",
        );
        let by_node = by_worth(&all, Pod::is_ready, &ranks(&all, &[], |_| None));
        assert_eq!(names_of(&by_node), "a b c d e");
        let zone = |name: &str| BTreeMap::from([("zone".to_owned(), name.to_owned())]);
        let labels = BTreeMap::from([("n1", zone("x")), ("n2", zone("y")), ("n3", zone("y"))]);
        let few = pods("a node=n1 ready@1\nd node=n2 ready@1\ne node=n3 ready@1");
        let by_zone = ranks(&few, &["zone".to_owned()], |n| labels.get(n));
        assert_eq!(names_of(&by_worth(&few, Pod::is_ready, &by_zone)), "d a e");
    }

    #[test]
    fn priority_sorts_by_weight_or_by_number() {
        let mut all = pods("a x=1\nb x=2 y=1\nc y=1\nd");
        let select = |key: &str, value: &str| LabelSelector {
            match_labels: [(key.to_owned(), value.to_owned())].into(),
            ..LabelSelector::default()
        };
        let weights = PriorityStrategy {
            weight_priority: vec![
                WeightPriority { weight: 10, match_selector: select("y", "1") },
                WeightPriority { weight: 5, match_selector: select("x", "2") },
            ],
            order_priority: vec![],
        };
        by_priority(&mut all, &weights);
        assert_eq!(names_of(&all), "b c a d");
        let mut all = pods("a n=p-2\nb n=p-10\nc\nd n=none\ne n=p-2");
        let order = PriorityStrategy {
            order_priority: vec![OrderPriority { ordered_key: "n".into() }],
            weight_priority: vec![],
        };
        by_priority(&mut all, &order);
        assert_eq!(names_of(&all), "c b a e d");
    }

    /// Each word is a pod: the labels it has (`A`, `AB`, `-` for none). The first ones, as many as places are expected,
    /// wait for their update. Cases of OpenKruise's own scatter tests.
    #[test]
    fn scattered_pods_lie_evenly_among_the_others() {
        for (terms, all, expected) in [
            ("A", "- - - - A A", "4 0 1 2 3 5"),
            ("A", "- - - A A A", "3 0 1 4 2 5"),
            ("A", "- - - A - - A", "3 0 1 2 4 5 6"),
            ("A", "- - - - - - A A A", "6 0 1 2 7 3 4 5 8"),
            ("A", "- - A A A A", "2 3 0 4 1 5"),
            ("A", "- - A - A A A A A", "2 4 0 5 6 1 7 3 8"),
            ("A", "- A - A - - A A A", "1 0 3 2 6 4 7 5 8"),
            ("A", "- - - - - - - A A AB", "7 0 1 2 3 8 4 5 6 9"),
            ("A", "A -", "0 1"),
            ("B", "- - - - - - B A A AB", "6 0 1 2 3 4 5 7 8 9"),
            ("A B", "B B - - A A", "0 4 2 3 5 1"),
            ("A B", "- - - B AB A", "4 0 1 2 5 3"),
            ("B A", "- - - - - - B A A B", "7 6 0 1 2 3 4 5 9 8"),
            ("A B", "- - - - - - B A A B", "6 7 0 1 2 3 4 5 8 9"),
            ("A B", "- - - - - - AB - - AB", "6 0 1 2 3 4 5 7 8 9"),
            ("A B", "- - - A - - AB - - -", "3 0 1 2 4 5 7 6"),
            ("A B", "- - - A A - AB - - AB", "6 3 0 1 4 2 5 7 8 9"),
            ("A B C", "- A A B B C C C C C", "3 1 5 0 6 7 8 9 2 4"),
            ("A B C", "- A AC BC B - - C C C", "3 2 0 7 8 5 6 9 1 4"),
            ("A", "- - - - A A A", "0 1 4 2 3 5"),
            ("A", "A A - - - - - - - A", "2 0 3 4 5 6 1"),
        ] {
            let label = |c: char| (c.to_string(), "v".to_owned());
            let pod = |(i, word): (usize, &str)| {
                let mut pod = Pod::default();
                pod.metadata.name = i.to_string();
                pod.metadata.labels = word.chars().filter(|c| *c != '-').map(label).collect();
                Arc::new(pod)
            };
            let pods: Vec<_> = all.split(' ').enumerate().map(pod).collect();
            let waiting = pods[..expected.split(' ').count()].to_vec();
            let terms: Vec<_> =
                terms.split(' ').map(|t| ScatterTerm { key: t.to_owned(), value: "v".into() }).collect();
            assert_eq!(names_of(&scatter(waiting, &pods, &terms)), expected, "{all}");
        }
    }
}
