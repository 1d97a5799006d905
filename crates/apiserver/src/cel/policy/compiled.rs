//! A policy, compiled, and what it says to a request.

use std::cell::RefCell;
use std::collections::BTreeMap;

use api_meta::Cause;
use cel_rules::{
    Activation, Budget, CALL_COST_MAX, Env, OBJECT_COST_MAX, Program, RunError, Type, Value as Cel,
};
use serde_json::Value;

use super::matching::Criteria;
use crate::cel::Subject;
use crate::cel::conditions::{self, Conditions, Verdict, not_compiled};
use crate::cel::env::{Extras, env};
use crate::refuse::cause;

/// A message that an expression makes is not longer than this.
const MESSAGE_BYTES_MAX: usize = 5 * 1024;

/// Characters of a note for the audit log.
const NOTE_CHARS_MAX: usize = 10 * 1024;

/// A compiled policy.
#[derive(Debug)]
pub(super) struct Policy {
    pub(super) name: String,
    pub(super) criteria: Criteria,
    /// `{apiVersion, kind}` of the parameters, or null.
    pub(super) param_kind: Value,
    fails_shut: bool,
    conditions: Conditions,
    variables: BTreeMap<String, Result<Program, String>>,
    validations: Vec<Validation>,
    /// Notes for the audit log, by their keys.
    notes: Vec<(String, Expression)>,
}

/// An expression, and why it cannot be run if it cannot.
#[derive(Debug)]
struct Expression {
    text: String,
    program: Result<Program, String>,
}

#[derive(Debug)]
struct Validation {
    rule: Expression,
    message_expression: Option<Expression>,
    message: String,
    reason: String,
}

/// Something that does not hold, or could not be worked out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    /// Which expression.
    pub(super) index: usize,
    /// What is said.
    pub(super) message: String,
    /// Reason of the refusal; `Invalid` when empty.
    pub(super) reason: String,
    /// It denies whatever the binding wants.
    pub(super) is_certain: bool,
}

/// Environments of a policy's expressions.
struct Envs {
    /// Of validations and variables.
    with_authorizer: Env,
    /// Of messages and notes.
    plain: Env,
}

fn extras(spec: &Value, authorizer: bool) -> Extras {
    Extras { params: spec["paramKind"].is_object(), authorizer, namespace: true }
}

fn list<'a>(spec: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    spec[key].as_array().into_iter().flatten()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

impl Envs {
    fn of(spec: &Value) -> Envs {
        // Of its own, `variables` has nothing: each variable is known by its whole name.
        let own = Type::object("kubernetes.variables", []);
        let plain = env(extras(spec, false)).with("variables", own.clone());
        Envs { with_authorizer: env(extras(spec, true)).with("variables", own), plain }
    }

    /// Compiles a variable, and lets later expressions read it.
    fn variable(&mut self, name: &str, expression: &str) -> Result<Program, String> {
        let program = self.with_authorizer.compile(expression).map_err(not_compiled);
        let of = program.as_ref().map_or(Type::Dyn, |p| p.result().clone());
        let full = format!("variables.{name}");
        self.with_authorizer = std::mem::take(&mut self.with_authorizer).with(&full, of.clone());
        self.plain = std::mem::take(&mut self.plain).with(&full, of);
        program
    }
}

/// A program whose value has one of these types.
fn typed(env: &Env, expression: &str, wanted: &[&str]) -> Result<Program, String> {
    let program = env.compile(expression).map_err(not_compiled)?;
    let found = program.result().to_string();
    match wanted {
        _ if wanted.contains(&found.as_str()) => Ok(program),
        [one] => Err(format!("must evaluate to {one} but got {found}")),
        many => Err(format!("must evaluate to one of [{}] but got {found}", many.join(" "))),
    }
}

impl Policy {
    pub(super) fn of(object: &Value) -> Policy {
        let spec = &object["spec"];
        let mut envs = Envs::of(spec);
        let mut variables = BTreeMap::new();
        for one in list(spec, "variables") {
            let name = text(one, "name");
            let program = envs.variable(name, text(one, "expression"));
            variables.insert(format!("variables.{name}"), program);
        }
        let expression = |env: &Env, text: &str, wanted: &[&str]| Expression {
            text: text.trim().to_owned(),
            program: typed(env, text, wanted),
        };
        let validation = |one: &Value| Validation {
            rule: expression(&envs.with_authorizer, text(one, "expression"), &["bool"]),
            message_expression: one["messageExpression"]
                .as_str()
                .filter(|t| !t.is_empty())
                .map(|t| expression(&envs.plain, t, &["string"])),
            message: text(one, "message").trim().to_owned(),
            reason: text(one, "reason").to_owned(),
        };
        let note = |one: &Value| {
            let made = expression(&envs.plain, text(one, "valueExpression"), &["string", "null"]);
            (text(one, "key").to_owned(), made)
        };
        Policy {
            name: object["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
            criteria: Criteria::of(&spec["matchConstraints"]),
            param_kind: spec["paramKind"].clone(),
            fails_shut: spec["failurePolicy"] != "Ignore",
            conditions: Conditions::compile(
                list(spec, "matchConditions").map(|c| text(c, "expression")),
                extras(spec, true),
            ),
            validations: list(spec, "validations").map(validation).collect(),
            notes: list(spec, "auditAnnotations").map(note).collect(),
            variables,
        }
    }

    /// What follows when something could not be worked out.
    pub(super) fn failure(&self, why: &str) -> Option<Decision> {
        self.failed(0, why, true)
    }

    fn failed(&self, index: usize, why: &str, is_certain: bool) -> Option<Decision> {
        self.fails_shut.then(|| Decision {
            index,
            message: why.to_owned(),
            reason: String::new(),
            is_certain,
        })
    }

    /// What it says to a request with these parameters.
    pub(super) fn judge(&self, subject: &Subject<'_>, params: &Value) -> Vec<Decision> {
        let scope = Scope { policy: self, subject, params: Cel::of(params), known: RefCell::default() };
        match self.conditions.judge(&scope) {
            Verdict::Match => {}
            Verdict::Skip => return Vec::new(),
            Verdict::Failed(why) => return self.failed(0, &why, false).into_iter().collect(),
        }
        let mut budget = Budget::new(OBJECT_COST_MAX);
        let mut out = Vec::new();
        for (index, one) in self.validations.iter().enumerate() {
            match run(&one.rule, &scope, &mut budget) {
                Ok(Cel::Bool(true)) => {}
                Ok(_) => out.push(Decision {
                    index,
                    message: one.said(&scope, &mut budget),
                    reason: if one.reason.is_empty() { "Invalid".to_owned() } else { one.reason.clone() },
                    is_certain: false,
                }),
                // Nothing is left to judge the others with: one decision stands for all.
                Err(Fault::Cost(why)) => return self.failed(0, &why, false).into_iter().collect(),
                Err(Fault::Error(why)) => out.extend(self.failed(index, &why, false)),
            }
        }
        out.extend(self.noted(&scope));
        out
    }

    /// Makes the notes for the audit log; one that cannot be made denies when the policy fails shut.
    fn noted(&self, scope: &Scope<'_>) -> Vec<Decision> {
        let mut budget = Budget::new(OBJECT_COST_MAX);
        let mut out = Vec::new();
        for (index, (key, note)) in self.notes.iter().enumerate() {
            match run(note, scope, &mut budget) {
                Ok(Cel::Text(text)) if !text.trim().is_empty() => {
                    let text: String = text.trim().chars().take(NOTE_CHARS_MAX).collect();
                    scope.subject.call.note(format!("{}/{key}", self.name), text);
                }
                Ok(_) => {}
                Err(Fault::Cost(why) | Fault::Error(why)) => out.extend(self.failed(index, &why, true)),
            }
        }
        out
    }
}

impl Validation {
    /// What is said when it does not hold.
    fn said(&self, scope: &Scope<'_>, budget: &mut Budget) -> String {
        let made = self.message_expression.as_ref().and_then(|e| run(e, scope, budget).ok());
        if let Some(Cel::Text(text)) = made {
            let text = text.trim();
            if !text.is_empty() && text.len() <= MESSAGE_BYTES_MAX && !text.contains('\n') {
                return text.to_owned();
            }
        }
        match self.message.as_str() {
            "" => format!("failed expression: {}", self.rule.text),
            message => message.to_owned(),
        }
    }
}

/// Why an expression gave nothing.
enum Fault {
    Cost(String),
    Error(String),
}

fn run(expression: &Expression, scope: &Scope<'_>, budget: &mut Budget) -> Result<Cel, Fault> {
    let mut own = budget.part(CALL_COST_MAX);
    let value = match &expression.program {
        Ok(program) => program.run(scope, &mut own),
        Err(why) => Err(RunError::Value(why.clone())),
    };
    budget.settle(&own).map_err(|_| Fault::Cost(conditions::OUT_OF_BUDGET.to_owned()))?;
    value.map_err(|why| Fault::Error(format!("expression '{}' resulted in error: {why}", expression.text)))
}

/// Variables of a policy: those of the request, parameters, and its own, worked out when they are read.
struct Scope<'a> {
    policy: &'a Policy,
    subject: &'a Subject<'a>,
    params: Cel,
    known: RefCell<BTreeMap<String, Result<Cel, RunError>>>,
}

impl Activation for Scope<'_> {
    fn get(&self, name: &str, budget: &mut Budget) -> Option<Result<Cel, RunError>> {
        if name == "params" {
            return Some(Ok(self.params.clone()));
        }
        let Some(program) = self.policy.variables.get(name) else {
            return match name {
                "variables" => Some(Ok(Cel::map::<&str>([]))),
                other => self.subject.get(other, budget),
            };
        };
        if let Some(known) = self.known.borrow().get(name) {
            return Some(known.clone());
        }
        let value = match program {
            Ok(program) => program.run(self, budget),
            Err(why) => Err(RunError::Value(why.clone())),
        };
        let value = value.map_err(|error| match error {
            RunError::Cost => RunError::Cost,
            RunError::Value(why) => {
                RunError::Value(format!("composited variable {:?} fails to evaluate: {why}", short(name)))
            }
        });
        self.known.borrow_mut().insert(name.to_owned(), value.clone());
        Some(value)
    }
}

fn short(name: &str) -> &str {
    name.trim_start_matches("variables.")
}

/// Findings about the expressions of a policy's `spec`.
pub(crate) fn findings(spec: &Value) -> Vec<Cause> {
    let mut out = conditions::findings(&spec["matchConditions"], "spec.matchConditions", extras(spec, true));
    let mut judge = |field: String, expression: &str, result: Result<Program, String>| {
        if let Err(why) = result {
            let shown = Value::from(expression);
            out.push(cause("FieldValueInvalid", &field, format!("Invalid value: {shown}: {why}")));
        }
    };
    let mut envs = Envs::of(spec);
    for (i, one) in list(spec, "variables").enumerate() {
        let expression = text(one, "expression");
        if !expression.trim().is_empty() {
            judge(
                format!("spec.variables[{i}].expression"),
                expression,
                envs.variable(text(one, "name"), expression),
            );
        }
    }
    for (i, one) in list(spec, "validations").enumerate() {
        let expression = text(one, "expression").trim();
        if !expression.is_empty() {
            let field = format!("spec.validations[{i}].expression");
            judge(field, expression, typed(&envs.with_authorizer, expression, &["bool"]));
        }
        let expression = text(one, "messageExpression").trim();
        if !expression.is_empty() {
            let field = format!("spec.validations[{i}].messageExpression");
            judge(field, expression, typed(&envs.plain, expression, &["string"]));
        }
    }
    for (i, one) in list(spec, "auditAnnotations").enumerate() {
        let expression = text(one, "valueExpression").trim();
        if !expression.is_empty() {
            let field = format!("spec.auditAnnotations[{i}].valueExpression");
            judge(field, expression, typed(&envs.plain, expression, &["string", "null"]));
        }
    }
    out
}
