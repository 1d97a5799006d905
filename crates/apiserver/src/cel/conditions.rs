//! `matchConditions`: whether a webhook or a policy has anything to say to a request.

use std::collections::BTreeSet;

use api_meta::Cause;
use cel_rules::{
    Activation, Budget, CALL_COST_MAX, CONDITIONS_COST_MAX, CompileError, Program, RunError, Type,
    Value as Cel,
};
use serde_json::Value;

use super::env::{Extras, env};
use crate::kinds::names;
use crate::refuse::{cause, required};

/// What is said when nothing is left of a budget.
pub(super) const OUT_OF_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

/// Compiled conditions: all must hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conditions {
    all: Vec<Condition>,
}

#[derive(Clone, Debug)]
struct Condition {
    expression: String,
    /// Why it cannot be run, for those stored before they could be judged.
    program: Result<Program, String>,
}

/// What conditions say to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All hold.
    Match,
    /// One does not.
    Skip,
    /// None fails to hold, but some could not be worked out: the failure policy decides. The sentence says which.
    Failed(String),
}

impl Conditions {
    /// Compiles expressions that must all hold.
    pub(crate) fn compile<'a>(expressions: impl Iterator<Item = &'a str>, extras: Extras) -> Conditions {
        let one = |expression: &str| {
            let expression = expression.trim().to_owned();
            let program = truth(&expression, extras);
            Condition { expression, program }
        };
        Conditions { all: expressions.map(one).collect() }
    }

    /// Whether there is nothing to judge.
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Judges a request; all conditions together may cost [`CONDITIONS_COST_MAX`].
    pub(crate) fn judge(&self, subject: &dyn Activation) -> Verdict {
        let mut budget = Budget::new(CONDITIONS_COST_MAX);
        let mut failed = Vec::new();
        for condition in &self.all {
            let mut own = budget.part(CALL_COST_MAX);
            let value = match &condition.program {
                Ok(program) => program.run(subject, &mut own),
                Err(why) => Err(RunError::Value(why.clone())),
            };
            if budget.settle(&own).is_err() {
                return Verdict::Failed(OUT_OF_BUDGET.to_owned());
            }
            match value {
                Ok(Cel::Bool(true)) => {}
                Ok(_) => return Verdict::Skip,
                Err(why) => {
                    failed.push(format!("expression '{}' resulted in error: {why}", condition.expression))
                }
            }
        }
        match failed.as_slice() {
            [] => Verdict::Match,
            [one] => Verdict::Failed(one.clone()),
            many => Verdict::Failed(format!("[{}]", many.join(", "))),
        }
    }
}

/// An expression that must be true or false.
///
/// # Errors
/// Why it cannot be, in the words that follow `Invalid value: "…": `.
pub(crate) fn truth(expression: &str, extras: Extras) -> Result<Program, String> {
    let program = env(extras).compile(expression).map_err(not_compiled)?;
    match program.result() {
        Type::Bool => Ok(program),
        other => Err(format!("must evaluate to bool but got {other}")),
    }
}

/// Conditions of a webhook or policy are not more than this.
const CONDITIONS_MAX: usize = 64;

/// Findings about `matchConditions` at a path of an object.
pub(crate) fn findings(list: &Value, path: &str, extras: Extras) -> Vec<Cause> {
    let list = list.as_array().map_or(&[][..], Vec::as_slice);
    let mut out = Vec::new();
    if list.len() > CONDITIONS_MAX {
        let text = format!("Too many: {}: must have at most {CONDITIONS_MAX} items", list.len());
        out.push(cause("FieldValueTooMany", path, text));
        return out;
    }
    let mut seen = BTreeSet::new();
    for (i, one) in list.iter().enumerate() {
        let expression = one["expression"].as_str().unwrap_or_default().trim();
        let field = format!("{path}[{i}].expression");
        if expression.is_empty() {
            out.push(required(&field, ""));
        } else if let Err(why) = truth(expression, extras) {
            let shown = Value::from(expression);
            out.push(cause("FieldValueInvalid", &field, format!("Invalid value: {shown}: {why}")));
        }
        let name = one["name"].as_str().unwrap_or_default();
        let field = format!("{path}[{i}].name");
        if name.is_empty() {
            out.push(required(&field, ""));
        } else if !seen.insert(name) {
            out.push(cause("FieldValueDuplicate", &field, format!("Duplicate value: {name:?}")));
        }
        let faults = names::qualified(name).into_iter().filter(|_| !name.is_empty());
        let text = |why: String| format!("Invalid value: {name:?}: {why}");
        out.extend(faults.map(|why| cause("FieldValueInvalid", &field, text(why))));
    }
    out
}

pub(super) fn not_compiled(why: CompileError) -> String {
    format!("compilation failed: {why}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cel::env::WEBHOOK;

    fn judged(conditions: &[&str]) -> Verdict {
        let object = Cel::of(&json!({"metadata": {"name": "a"}}));
        let conditions = Conditions::compile(conditions.iter().copied(), WEBHOOK);
        conditions.judge(&[("object", object), ("oldObject", Cel::Null)])
    }

    #[test]
    fn all_conditions_must_hold() {
        assert_eq!(judged(&[]), Verdict::Match);
        assert_eq!(judged(&["object.metadata.name == 'a'", "oldObject == null"]), Verdict::Match);
        assert_eq!(judged(&["object.metadata.name == 'a'", "oldObject != null"]), Verdict::Skip);
    }

    #[test]
    fn one_that_does_not_hold_outweighs_one_that_fails() {
        assert_eq!(judged(&["object.zz == 1", "false"]), Verdict::Skip);
        let why = "expression 'object.zz == 1' resulted in error: no such key: zz";
        assert_eq!(judged(&["object.zz == 1", "true"]), Verdict::Failed(why.to_owned()));
    }

    #[test]
    fn a_condition_is_a_truth_about_known_variables() {
        let why = |text: &str| truth(text, WEBHOOK).map(|_| ()).unwrap_err();
        assert_eq!(why("'a'"), "must evaluate to bool but got string");
        assert!(
            why("params == null")
                .starts_with("compilation failed: ERROR: <input>:1:1: undeclared reference to 'params'")
        );
        assert!(why("request.zz == ''").contains("undefined field 'zz'"));
        assert!(truth("authorizer.requestResource.check('get').allowed()", WEBHOOK).is_ok());
        assert!(truth("'system:masters' in request.userInfo.groups && !request.dryRun", WEBHOOK).is_ok());
    }
}
