//! The answer to "why?": what holds an object, in the words of those who decide about it.

use serde::Serialize;
use stdx::Time;

use crate::human_duration;

/// What is known about one object that does not go on.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// `pod/web-a`, `cloneset.apps.kruise.io/web`.
    pub object: String,
    /// Its namespace; empty for cluster-wide objects.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Its owners, the nearest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub part_of: Vec<String>,
    /// How it stands, in one sentence.
    pub state: String,
    /// What is held back, and by which rule.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<Reason>,
    /// What is being waited for; it goes on by itself when that has come.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waits_for: Vec<Reason>,
    /// Of a pod: why it is where it is, and why not elsewhere.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub placing: Vec<String>,
    /// What its controllers are about to do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub next: Vec<String>,
    /// Budgets in force for its pods.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<String>,
    /// What a person can do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub can_do: Vec<String>,
    /// Recent warnings about it and its owners.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// One reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reason {
    /// Whose decision it is: an object or a controller.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// One CamelCase word; empty when there is none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// A sentence.
    pub message: String,
    /// Since when, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}

impl Reason {
    /// A reason of somebody, without a moment.
    pub fn new(by: impl Into<String>, reason: impl Into<String>, message: impl Into<String>) -> Reason {
        Reason { by: by.into(), reason: reason.into(), message: message.into(), since: None }
    }

    /// The same with the moment it began.
    pub fn since(self, since: Option<Time>) -> Reason {
        Reason { since, ..self }
    }

    /// `message (Reason, by cloneset/web, for 12s)`.
    pub fn text(&self, now: Time) -> String {
        let since = self.since.map(|t| format!("for {}", human_duration(now.since(t))));
        let by = Some(&self.by).filter(|b| !b.is_empty()).map(|b| format!("by {b}"));
        let word = Some(&self.reason).filter(|r| !r.is_empty()).cloned();
        let parts: Vec<String> = [word, by, since].into_iter().flatten().collect();
        if parts.is_empty() {
            self.message.clone()
        } else {
            format!("{} ({})", self.message, parts.join(", "))
        }
    }
}

impl Answer {
    /// Adds advice once.
    pub fn advise(&mut self, advice: impl Into<String>) {
        let advice = advice.into();
        if !self.can_do.contains(&advice) {
            self.can_do.push(advice);
        }
    }

    /// The answer as a page.
    pub fn text(&self, now: Time) -> String {
        let place = if self.namespace.is_empty() { String::new() } else { format!(" in {}", self.namespace) };
        let mut out = format!("{}{place}\n", self.object);
        let reasons = |list: &[Reason]| list.iter().map(|r| r.text(now)).collect::<Vec<_>>();
        let mut held = reasons(&self.held);
        if held.is_empty() && self.waits_for.is_empty() {
            held.push("nothing".to_owned());
        }
        let sections = [
            ("Part of", self.part_of.clone()),
            ("State", vec![self.state.clone()]),
            ("Held by", held),
            ("Waits for", reasons(&self.waits_for)),
            ("Placing", self.placing.clone()),
            ("Next", self.next.clone()),
            ("Budgets", self.budgets.clone()),
            ("Can do", self.can_do.clone()),
            ("Warnings", self.warnings.clone()),
        ];
        for (name, lines) in sections {
            let mut head = format!("{name}:");
            for line in lines {
                out += &format!("  {head:<11}{line}\n");
                head.clear();
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn an_answer_names_rule_owner_and_time() {
        let held = "2 pods to be updated to web-2, because 1 of 1 allowed pod is unavailable (web-a)";
        let answer = Answer {
            object: "cloneset.apps.kruise.io/web".into(),
            namespace: "shop".into(),
            state: "1 of 3 pods of this batch are updated".into(),
            held: vec![Reason::new("cloneset.apps.kruise.io/web", "UpdateHeld", held)],
            waits_for: vec![
                Reason::new("", "", "web-a: container main is not ready").since(Some(Time::from_secs(988))),
            ],
            can_do: vec!["look at web-a: `knarr why pod/web-a -n shop`".into(), "raise the budget".into()],
            ..Answer::default()
        };
        expect![[r#"
            cloneset.apps.kruise.io/web in shop
              State:     1 of 3 pods of this batch are updated
              Held by:   2 pods to be updated to web-2, because 1 of 1 allowed pod is unavailable (web-a) (UpdateHeld, by cloneset.apps.kruise.io/web)
              Waits for: web-a: container main is not ready (for 12s)
              Can do:    look at web-a: `knarr why pod/web-a -n shop`
                         raise the budget
        "#]]
        .assert_eq(&answer.text(Time::from_secs(1000)));
    }

    #[test]
    fn what_nothing_holds_is_said_to_be_free() {
        let answer = Answer { object: "pod/a".into(), state: "in service".into(), ..Answer::default() };
        assert_eq!(answer.text(Time::from_secs(0)), "pod/a\n  State:     in service\n  Held by:   nothing\n");
    }
}
