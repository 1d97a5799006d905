//! What holds for every history of a tree.

use api_koord::quota::QuotaWords;
use api_koord::{Amounts, names};
use proptest::prelude::*;
use sched_quota::{PodFact, Settings, Share, Standing, Tree, split};
use stdx::Time;

/// A change of a tree.
#[derive(Clone, Debug)]
enum Step {
    Quota(Box<QuotaWords>),
    RemoveQuota(usize),
    Pod(usize, PodFact),
    Place(usize, bool),
    RemovePod(usize),
    Total(Amounts),
    /// Looking shares out and keeps: it must change nothing.
    Look(usize),
}

const QUOTAS: usize = 6;

fn name(i: usize) -> String {
    if i == 0 { names::DEFAULT_QUOTA.to_owned() } else { format!("q{i}") }
}

/// Quotas stand below lower numbers only, so that no order of changes makes a circle.
fn words() -> impl Strategy<Value = QuotaWords> {
    let amounts =
        |most: i64| (0..most, 0..most).prop_map(|(a, b)| Amounts::from([("cpu", a), ("memory", b)]));
    let sizes = (amounts(40), amounts(60), amounts(4));
    (0..QUOTAS, any::<proptest::sample::Index>(), sizes, any::<bool>(), any::<bool>()).prop_map(
        |(i, parent, (min, extra, weight), lent, narrow)| {
            let mut max = min.clone();
            max.add(&extra);
            if narrow {
                max.0.remove("memory");
            }
            let parent = match parent.index(i.max(1)) {
                0 => names::ROOT_QUOTA.to_owned(),
                p => name(p),
            };
            QuotaWords {
                name: name(i),
                parent,
                min: min.masked(&max),
                max,
                weight,
                lent,
                ..QuotaWords::default()
            }
        },
    )
}

fn pod() -> impl Strategy<Value = PodFact> {
    (0..QUOTAS, 0i64..30, 0i64..30, any::<bool>(), 0i32..4, any::<bool>()).prop_map(
        |(q, cpu, memory, is_firm, priority, is_placed)| PodFact {
            quota: name(q),
            request: Amounts::from([("cpu", cpu), ("memory", memory)]),
            is_firm,
            priority,
            created: Time::from_secs(i64::from(priority)),
            is_placed,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => words().prop_map(|w| Step::Quota(Box::new(w))),
        1 => (0..QUOTAS).prop_map(Step::RemoveQuota),
        4 => (0usize..8, pod()).prop_map(|(i, p)| Step::Pod(i, p)),
        2 => (0usize..8, any::<bool>()).prop_map(|(i, p)| Step::Place(i, p)),
        1 => (0usize..8).prop_map(Step::RemovePod),
        1 => (0i64..300, 0i64..300).prop_map(|(a, b)| Step::Total(Amounts::from([("cpu", a), ("memory", b)]))),
        2 => (0..QUOTAS).prop_map(Step::Look),
    ]
}

fn settings() -> impl Strategy<Value = Settings> {
    (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(parents, scale_min, guarantee)| Settings {
        runtime: true,
        parents,
        scale_min,
        guarantee,
    })
}

fn play(tree: &mut Tree, steps: &[Step]) {
    for step in steps {
        match step {
            Step::Quota(words) => tree.set_quota((**words).clone()).unwrap(),
            Step::RemoveQuota(i) => tree.remove_quota(&name(*i)),
            Step::Pod(i, pod) => tree.set_pod(format!("p{i}"), pod.clone()),
            Step::Place(i, placed) => tree.set_placed(&format!("p{i}"), *placed),
            Step::RemovePod(i) => drop(tree.remove_pod(&format!("p{i}"))),
            Step::Total(total) => tree.set_total(total.clone()),
            Step::Look(i) => drop(tree.runtime(&name(*i))),
        }
    }
}

/// The same tree from what remains, quotas from the last to the first.
fn rebuilt(tree: &Tree, steps: &[Step]) -> Tree {
    let total = steps.iter().rev().find_map(|s| if let Step::Total(t) = s { Some(t.clone()) } else { None });
    let mut fresh = Tree::new(tree.settings(), total.unwrap_or_default());
    for (uid, pod) in tree.pods().iter().rev() {
        // A pod that lost its quota counts for nothing until it is given one: set anew it would.
        fresh.set_pod(uid.clone(), pod.clone());
    }
    let quotas: Vec<String> = tree.names().filter(|n| *n != names::ROOT_QUOTA).map(str::to_owned).collect();
    for name in quotas.iter().rev() {
        fresh.set_quota(tree.words(name).unwrap().clone()).unwrap();
    }
    for (uid, pod) in tree.pods() {
        fresh.set_pod(uid.clone(), pod.clone());
    }
    fresh
}

fn portrait(tree: &mut Tree) -> Vec<(String, Option<Standing>)> {
    let names: Vec<String> = tree.names().map(str::to_owned).collect();
    names.into_iter().map(|n| (n.clone(), tree.standing(&n))).collect()
}

/// A plain evaluation of one quota: everything from quotas and pods, nothing kept.
struct Plain<'a>(&'a Tree);

impl Plain<'_> {
    fn children(&self, parent: &str) -> Vec<&QuotaWords> {
        let all = self.0.names().filter_map(|n| self.0.words(n));
        all.filter(|w| w.parent == parent && w.name != names::ROOT_QUOTA).collect()
    }

    fn own(&self, quota: &QuotaWords, key: &str, only_placed: bool) -> i64 {
        let counts = |p: &&PodFact| {
            p.quota == quota.name && quota.max.0.contains_key(key) && (p.is_placed || !only_placed)
        };
        self.0.pods().values().filter(counts).map(|p| p.request.get(key)).sum()
    }

    fn used(&self, quota: &QuotaWords, key: &str) -> i64 {
        self.own(quota, key, true) + self.children(&quota.name).iter().map(|c| self.used(c, key)).sum::<i64>()
    }

    fn limited(&self, quota: &QuotaWords, key: &str) -> i64 {
        let below: i64 = self.children(&quota.name).iter().map(|c| self.limited(c, key)).sum();
        let asked = self.own(quota, key, false) + below;
        let asked = if quota.lent { asked } else { asked.max(quota.min.get(key)) };
        quota.max.0.get(key).map_or(asked, |max| asked.min(*max))
    }

    fn kept(&self, quota: &QuotaWords, key: &str) -> i64 {
        let below: i64 = self.children(&quota.name).iter().map(|c| self.kept(c, key)).sum();
        quota.min.get(key).max(self.own(quota, key, true) + below)
    }

    fn runtime(&self, quota: &QuotaWords, key: &str, total: i64) -> i64 {
        let whole = match self.0.words(&quota.parent) {
            Some(_) if quota.parent == names::ROOT_QUOTA => total,
            Some(parent) => self.runtime(parent, key, total),
            None => 0,
        };
        let siblings = self.children(&quota.parent);
        if !siblings.iter().any(|s| s.max.0.contains_key(key)) {
            return 0;
        }
        let sum: i64 = siblings.iter().map(|s| s.min.get(key)).sum();
        let share = |s: &&QuotaWords| {
            let shrinks = self.0.settings().scale_min && sum > whole;
            let min = if shrinks { whole.max(0) * s.min.get(key) / sum.max(1) } else { s.min.get(key) };
            let kept = if self.0.settings().guarantee { self.kept(s, key) } else { 0 };
            (s.name.clone(), s.weight.get(key), self.limited(s, key), min.max(kept), s.lent)
        };
        let facts: Vec<(String, i64, i64, i64, bool)> = siblings.iter().map(share).collect();
        let shares: Vec<Share<'_>> = facts
            .iter()
            .map(|(name, weight, request, min, lent)| Share {
                name,
                weight: *weight,
                request: *request,
                min: *min,
                lent: *lent,
            })
            .collect();
        split(whole, &shares)[facts.iter().position(|f| f.0 == quota.name).unwrap()]
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_tree_equals_the_one_built_from_what_remains(settings in settings(), steps in proptest::collection::vec(step(), 1..40)) {
        let mut tree = Tree::new(settings, Amounts::default());
        play(&mut tree, &steps);
        // Pods whose quota went and came again belong to it again only when they are set.
        let pods: Vec<_> = tree.pods().iter().map(|(u, p)| (u.clone(), p.clone())).collect();
        pods.into_iter().for_each(|(uid, pod)| tree.set_pod(uid, pod));
        let mut fresh = rebuilt(&tree, &steps);
        prop_assert_eq!(portrait(&mut tree), portrait(&mut fresh));
    }

    #[test]
    fn runtime_equals_a_plain_evaluation(settings in settings(), steps in proptest::collection::vec(step(), 1..40)) {
        let mut tree = Tree::new(settings, Amounts::default());
        play(&mut tree, &steps);
        let pods: Vec<_> = tree.pods().iter().map(|(u, p)| (u.clone(), p.clone())).collect();
        pods.into_iter().for_each(|(uid, pod)| tree.set_pod(uid, pod));
        let total = tree.total();
        for quota in (1..QUOTAS).map(name) {
            let Some(words) = tree.words(&quota).cloned() else { continue };
            let runtime = tree.runtime(&quota);
            let used = tree.standing(&quota).unwrap().used;
            for key in words.max.0.keys() {
                let plain = Plain(&tree);
                if tree.is_rooted(&quota) {
                    prop_assert_eq!(runtime.get(key), plain.runtime(&words, key, total.get(key)), "{} {}", quota, key);
                }
                prop_assert_eq!(used.get(key), plain.used(&words, key));
            }
        }
    }

    #[test]
    fn who_is_admitted_fits_and_room_that_is_made_is_enough_and_no_more(
        settings in settings(), steps in proptest::collection::vec(step(), 1..30), last in pod()
    ) {
        let settings = Settings { parents: false, ..settings };
        let mut tree = Tree::new(settings, Amounts::default());
        play(&mut tree, &steps);
        let quota = last.quota.clone();
        let Some(words) = tree.words(&quota).cloned() else { return Ok(()) };
        let fits = |used: &Amounts, limit: &Amounts| used.beyond(limit).next().is_none();
        let request = last.request.masked(&words.max);
        let (limit, before) = (tree.runtime(&quota), tree.standing(&quota).unwrap().used);
        let mut after = before.clone();
        after.add(&request);
        if tree.admit(&quota, &last.request, false).is_ok() {
            prop_assert!(fits(&after, &limit));
        }
        if let Some(victims) = tree.make_room(&quota, &last.request, false, last.priority) {
            for victim in &victims {
                prop_assert!(victim.priority < last.priority);
                after.sub(&victim.request);
            }
            prop_assert!(fits(&after, &limit), "enough");
            for victim in &victims {
                let mut with = after.clone();
                with.add(&victim.request);
                prop_assert!(!fits(&with, &limit), "and no more: {:?} need not go", victim);
            }
        }
    }
}
