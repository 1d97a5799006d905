//! Whether rules include other rules, by the algorithm upstream uses: broken down to one verb on one thing each.
//!
//! A broken-down rule counts as held only when one held rule includes it whole; what several held rules add up to does not
//! matter, because `*` stands for more than anybody can list.

use std::collections::BTreeMap;

use crate::rule::{ALL, Rule, has, path_covers};

/// What of `wanted` is not included in `held`: broken down to single verbs on single things, in the order of `wanted`.
pub fn missing(held: &[Rule], wanted: &[Rule]) -> Vec<Rule> {
    let parts = wanted.iter().flat_map(broken_down);
    parts.filter(|part| !held.iter().any(|rule| includes(rule, part))).collect()
}

/// A rule as rules of one verb on one thing each.
fn broken_down(rule: &Rule) -> Vec<Rule> {
    let one = |word: &String| vec![word.clone()];
    let mut out = Vec::new();
    for group in &rule.api_groups {
        for resource in &rule.resources {
            for verb in &rule.verbs {
                let part = Rule {
                    verbs: one(verb),
                    api_groups: one(group),
                    resources: one(resource),
                    ..Rule::default()
                };
                if rule.resource_names.is_empty() {
                    out.push(part);
                    continue;
                }
                let named = |name| Rule { resource_names: one(name), ..part.clone() };
                out.extend(rule.resource_names.iter().map(named));
            }
        }
    }
    for path in &rule.non_resource_urls {
        let part = |verb| Rule { verbs: one(verb), non_resource_urls: one(path), ..Rule::default() };
        out.extend(rule.verbs.iter().map(part));
    }
    out
}

/// Whether `held` includes a broken-down rule whole.
fn includes(held: &Rule, part: &Rule) -> bool {
    let all = |held: &[String], part: &[String]| has(held, ALL) || part.iter().all(|w| has(held, w));
    let names = held.resource_names.is_empty()
        || !part.resource_names.is_empty()
            && part.resource_names.iter().all(|n| has(&held.resource_names, n));
    all(&held.verbs, &part.verbs)
        && all(&held.api_groups, &part.api_groups)
        && part.resources.iter().all(|r| includes_resource(&held.resources, r))
        && names
        && part.non_resource_urls.iter().all(|p| held.non_resource_urls.iter().any(|h| path_covers(h, p)))
}

fn includes_resource(held: &[String], resource: &str) -> bool {
    let any_resource = |sub: &str| has(held, &format!("*/{sub}"));
    has(held, ALL)
        || has(held, resource)
        || resource.split_once('/').is_some_and(|(_, sub)| any_resource(sub))
}

/// Fewer rules of the same meaning: verbs on the same single resource (and name, if any) are put together. Rules of another
/// shape stay as they are and come first.
pub fn compact(rules: Vec<Rule>) -> Vec<Rule> {
    let mut simple: BTreeMap<(String, String, Option<String>), Rule> = BTreeMap::new();
    let mut out = Vec::new();
    for rule in rules {
        let Some(key) = simple_key(&rule) else {
            out.push(rule);
            continue;
        };
        match simple.get_mut(&key) {
            Some(known) => known.verbs.extend(rule.verbs),
            None => drop(simple.insert(key, rule)),
        }
    }
    out.extend(simple.into_values());
    out
}

/// Group, resource and name of a rule that is about just one of each.
fn simple_key(rule: &Rule) -> Option<(String, String, Option<String>)> {
    let is_simple =
        !rule.verbs.is_empty() && rule.non_resource_urls.is_empty() && rule.resource_names.len() <= 1;
    match (rule.api_groups.as_slice(), rule.resources.as_slice()) {
        ([group], [resource]) if is_simple => {
            Some((group.clone(), resource.clone(), rule.resource_names.first().cloned()))
        }
        _ => None,
    }
}
