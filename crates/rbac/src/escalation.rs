//! Nobody grants what they do not hold.

use std::collections::BTreeSet;

use crate::cover::{compact, missing};
use crate::decide::Held;
use crate::index::Missing;
use crate::rule::{ALL, Rule, Who, quoted};

/// Confirms that a user who holds `held` may grant `wanted`.
///
/// # Errors
/// The refusal in upstream's words, with the rules that are missing: one a line, sorted.
pub fn confirm(who: Who<'_>, held: &Held, wanted: &[Rule]) -> Result<(), String> {
    let missing = missing(&held.rules, wanted);
    if missing.is_empty() {
        return Ok(());
    }
    let lines: BTreeSet<String> = compact(missing).iter().map(Rule::to_string).collect();
    let lines: Vec<String> = lines.into_iter().collect();
    let mut text = format!(
        "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        who.name,
        quoted(who.groups),
        lines.join("\n")
    );
    if !held.missing.is_empty() {
        let faults: Vec<String> = held.missing.iter().map(Missing::to_string).collect();
        text.push_str(&format!("; resolution errors: [{}]", faults.join(", ")));
    }
    Err(text)
}

/// Everything there is; who wants to say which roles another one gathers must hold it.
pub fn everything() -> Vec<Rule> {
    let all = || vec![ALL.to_owned()];
    vec![
        Rule { verbs: all(), api_groups: all(), resources: all(), ..Rule::default() },
        Rule { verbs: all(), non_resource_urls: all(), ..Rule::default() },
    ]
}
