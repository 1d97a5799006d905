//! Which writes a policy or a binding is about: as a hook would be, but for what it leaves out.

use api_admission::hooks::{self, Hook, Invocation, Rule};
use serde_json::{Value, json};

use crate::cel::Conditions;
use crate::refuse::Outcome;
use crate::webhook::Review;

/// `matchConstraints` of a policy, `matchResources` of a binding.
#[derive(Debug)]
pub(super) struct Criteria {
    /// The hook that would want to see the same.
    hook: Hook,
    excluded: Vec<Rule>,
    /// A hook's conditions come before others see the request; a policy has its own, which see more.
    none: Conditions,
}

impl Criteria {
    pub(super) fn of(resources: &Value) -> Criteria {
        let rules = resources["resourceRules"].as_array().filter(|rules| !rules.is_empty());
        // Of a binding without rules: whatever its policy is about.
        let all = json!([{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*/*"], "scope": "*"}]);
        let hook = json!({
            "rules": rules.map_or(all, |rules| json!(rules)), "matchPolicy": resources["matchPolicy"],
            "namespaceSelector": resources["namespaceSelector"], "objectSelector": resources["objectSelector"],
        });
        let mut hooks = hooks::read(&json!({"webhooks": [hook]}));
        let excluded = resources["excludeResourceRules"].as_array().into_iter().flatten();
        Criteria {
            hook: hooks.swap_remove(0),
            excluded: excluded.map(Rule::read).collect(),
            none: Conditions::default(),
        }
    }

    /// In which version they mean a write, if at all.
    pub(super) async fn meets(
        &self,
        review: &Review<'_>,
        new: Option<&Value>,
        old: Option<&Value>,
    ) -> Outcome<Option<Invocation>> {
        if self.excluded.iter().any(|r| r.matches(review.request, &review.request.place)) {
            return Ok(None);
        }
        review.invocation((&self.hook, &self.none), new, old).await
    }
}
