//! The index: following every change is as good as beginning anew, and finding by subject as good as looking at everything.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rbac::{Index, Kind, RoleRef};

use crate::world::{self, Object, asks, callers, who};

type State = BTreeMap<(Kind, &'static str, &'static str), Object>;

fn follow(history: &[(Object, bool)]) -> (Index, State) {
    let (mut index, mut state) = (Index::new(), State::new());
    for (object, goes) in history {
        let key = (object.kind, object.namespace, object.name);
        if *goes {
            index.remove(object.kind, object.namespace, object.name);
            state.remove(&key);
        } else {
            world::put(&mut index, object);
            state.insert(key, object.clone());
        }
        // Asked in between, so that what is remembered of an older state would show.
        let _ = index.rules(who(&callers()[2]), "n");
    }
    (index, state)
}

/// Whether a caller may, by looking at every binding there is.
fn brute(state: &State, index: &Index, caller: &(&'static str, Vec<String>), ask: &rbac::Ask<'_>) -> bool {
    let applies = |object: &Object| {
        let subjects = object.body["subjects"].as_array().cloned().unwrap_or_default();
        subjects.iter().any(|s| match s["kind"].as_str() {
            Some("User") => s["name"] == caller.0,
            Some("Group") => caller.1.iter().any(|g| s["name"] == g.as_str()),
            _ => {
                let home = s["namespace"].as_str().unwrap_or(object.namespace);
                !home.is_empty() && caller.0 == format!("system:serviceaccount:{home}:a")
            }
        })
    };
    let is_binding = |o: &&Object| matches!(o.kind, Kind::RoleBinding | Kind::ClusterRoleBinding);
    state.values().filter(is_binding).any(|object| {
        let in_force = object.namespace.is_empty() || object.namespace == ask.namespace;
        let role: RoleRef = serde_json::from_value(object.body["roleRef"].clone()).unwrap();
        let rules = index.role(&role, object.namespace);
        in_force && applies(object) && rules.is_ok_and(|rules| rules.iter().any(|rule| rule.allows(ask)))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_index_that_followed_equals_one_that_was_built(history in world::history()) {
        let (followed, state) = follow(&history);
        let mut built = Index::new();
        // In another order than they came.
        for object in state.values().rev() {
            world::put(&mut built, object);
        }
        prop_assert_eq!(followed.aggregated(), built.aggregated());
        for caller in callers() {
            for namespace in ["", "n", "m"] {
                prop_assert_eq!(followed.rules(who(&caller), namespace), built.rules(who(&caller), namespace));
            }
        }
    }

    #[test]
    fn what_is_found_by_subject_is_what_all_bindings_together_allow(history in world::history()) {
        let (index, state) = follow(&history);
        for caller in callers() {
            for ask in asks("").into_iter().step_by(7).chain(asks("n").into_iter().step_by(3)) {
                let allowed = index.authorize(who(&caller), &ask).is_allowed();
                prop_assert_eq!(allowed, brute(&state, &index, &caller, &ask), "{:?} {:?}", caller, ask);
                // What one holds and what one may are the same thing.
                let held = index.rules(who(&caller), ask.namespace);
                prop_assert_eq!(allowed, held.rules.iter().any(|rule| rule.allows(&ask)));
            }
        }
    }
}
