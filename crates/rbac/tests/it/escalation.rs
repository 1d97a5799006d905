//! Escalation: held means allowed, request by request.

use proptest::prelude::*;
use rbac::{Held, Rule, Who, compact, confirm, missing};

use crate::world::{asks, rules};

fn allowed(rules: &[Rule], ask: &rbac::Ask<'_>) -> bool {
    rules.iter().any(|rule| rule.allows(ask))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn rules_may_be_granted_exactly_when_every_request_they_allow_is_allowed(held in rules(), wanted in rules()) {
        let worse = asks("n").into_iter().find(|ask| allowed(&wanted, ask) && !allowed(&held, ask));
        let confirmed = missing(&held, &wanted).is_empty();
        prop_assert_eq!(confirmed, worse.is_none(), "{:?}", worse);
    }

    #[test]
    fn what_is_missing_is_what_would_have_to_be_held_as_well(held in rules(), wanted in rules()) {
        let lacking = missing(&held, &wanted);
        let together: Vec<Rule> = held.iter().chain(&lacking).cloned().collect();
        prop_assert!(missing(&together, &wanted).is_empty());
    }

    #[test]
    fn compacting_changes_no_answer(rules in rules()) {
        let parts = missing(&[], &rules);
        let fewer = compact(parts.clone());
        prop_assert!(fewer.len() <= parts.len());
        for ask in asks("n") {
            prop_assert_eq!(allowed(&rules, &ask), allowed(&fewer, &ask));
        }
    }

    #[test]
    fn everybody_may_grant_what_they_hold_and_everything_covers_all(rules in rules()) {
        prop_assert!(missing(&rules, &rules).is_empty());
        prop_assert!(missing(&rbac::everything(), &rules).is_empty());
    }
}

#[test]
fn the_refusal_names_what_is_missing_in_upstreams_words() {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let groups = words("viewers system:authenticated");
    let who = Who { name: "viewer", groups: &groups };
    let wanted = Rule {
        verbs: words("get list"),
        api_groups: vec![String::new()],
        resources: words("secrets"),
        ..Rule::default()
    };
    let expected = expect_test::expect![[r#"
        user "viewer" (groups=["viewers" "system:authenticated"]) is attempting to grant RBAC permissions not currently held:
        {APIGroups:[""], Resources:["secrets"], Verbs:["get" "list"]}"#]];
    expected.assert_eq(&confirm(who, &Held::default(), &[wanted]).unwrap_err());
    let expected = expect_test::expect![[r#"
        user "viewer" (groups=["viewers" "system:authenticated"]) is attempting to grant RBAC permissions not currently held:
        {APIGroups:["*"], Resources:["*"], Verbs:["*"]}
        {NonResourceURLs:["*"], Verbs:["*"]}"#]];
    expected.assert_eq(&confirm(who, &Held::default(), &rbac::everything()).unwrap_err());
}
