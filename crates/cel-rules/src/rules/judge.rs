//! Rules over an object.

use std::collections::BTreeMap;

use api_meta::Cause;
use serde_json::Value as Json;

use super::{Node, Rule};
use crate::fault::RunError;
use crate::run::Budget;
use crate::schema;
use crate::value::Value;
use crate::{CALL_COST_MAX, OBJECT_COST_MAX};

/// What rules find.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Findings {
    /// What the object is refused for.
    pub causes: Vec<Cause>,
    /// Rules broken by values that are as they were: told, not refused.
    pub warnings: Vec<String>,
}

/// A message that an expression makes is not longer than this.
const MESSAGE_BYTES_MAX: usize = 5 * 1024;
const OUT_OF_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

pub(super) fn judge(root: &Node, new: &Json, old: Option<&Json>) -> Findings {
    let mut judge = Judge { found: Findings::default(), left: OBJECT_COST_MAX, is_over: false };
    let kept = Kept { current: old.map(|old| (new, old)), nearest: None };
    judge.node(root, "", new, old, kept);
    judge.found
}

struct Judge {
    found: Findings,
    left: u64,
    /// The budget is spent: nothing more is looked at.
    is_over: bool,
}

/// What a value was before, as far as that can be told; else what the nearest part around it was.
#[derive(Clone, Copy, Default)]
struct Kept<'a> {
    current: Option<(&'a Json, &'a Json)>,
    nearest: Option<(&'a Json, &'a Json)>,
}

impl<'a> Kept<'a> {
    fn is_as_it_was(self) -> bool {
        self.current.or(self.nearest).is_some_and(|(new, old)| new == old)
    }

    fn below(self, old: Option<(&'a Json, &'a Json)>) -> Kept<'a> {
        match self.current {
            Some(current) => Kept { current: old, nearest: Some(current) },
            None => self,
        }
    }
}

impl Judge {
    fn node<'a>(&mut self, node: &Node, path: &str, new: &'a Json, old: Option<&'a Json>, kept: Kept<'a>) {
        if new.is_null() || self.is_over {
            return;
        }
        self.rules(node, path, new, old, kept);
        for part in &node.all_of {
            self.node(part, path, new, old, Kept { current: None, nearest: kept.nearest });
        }
        match new {
            Json::Array(items) => self.items(node, path, items, old, kept),
            Json::Object(map) => {
                for (name, value) in map {
                    self.field(node, path, (name, value), old, kept);
                }
            }
            _ => {}
        }
    }

    fn field<'a>(
        &mut self,
        node: &Node,
        path: &str,
        (name, value): (&str, &'a Json),
        old: Option<&'a Json>,
        kept: Kept<'a>,
    ) {
        let was = old.and_then(|o| o.get(name));
        // The version of an object is not seen to change: both are converted to the same one before.
        let is_head = kept.nearest.is_none() && matches!(name, "apiVersion" | "kind");
        let current = kept.current.filter(|_| node.is_granular && !is_head);
        let kept = kept.below(current.and_then(|(_, old)| Some((value, old.get(name)?))));
        if let Some(values) = &node.additional {
            self.node(values, &format!("{path}[{name}]"), value, was, kept);
        } else if let Some(property) = node.properties.get(name) {
            self.node(property, &child(path, name), value, was, kept);
        }
    }

    fn items<'a>(
        &mut self,
        node: &Node,
        path: &str,
        items: &'a [Json],
        old: Option<&'a Json>,
        kept: Kept<'a>,
    ) {
        let Some(schema) = &node.items else { return };
        let (was, current) = (by_keys(node, old), by_keys(node, kept.current.map(|(_, old)| old)));
        for (i, item) in items.iter().enumerate() {
            let key = node.keys.as_ref().map(|keys| key_of(item, keys));
            let find = |index: &BTreeMap<String, &'a Json>| index.get(key.as_ref()?).copied();
            let was = find(&was);
            let kept = kept.below(find(&current).map(|old| (item, old)));
            self.node(schema, &format!("{path}[{i}]"), item, was, kept);
        }
    }

    fn rules(&mut self, node: &Node, path: &str, new: &Json, old: Option<&Json>, kept: Kept<'_>) {
        let old = old.filter(|o| !o.is_null());
        if node.rules.is_empty() {
            return;
        }
        if self.left == 0 {
            self.stop(path, new, OUT_OF_BUDGET);
            return;
        }
        let own = schema::value(new, &node.of);
        let reads_old = node.rules.iter().any(|r| r.reads_old);
        let was = old.filter(|_| reads_old).map(|old| schema::value(old, &node.of));
        for rule in &node.rules {
            let is_optional = rule.words.optional_old == Some(true);
            if rule.reads_old && was.is_none() && !is_optional {
                continue;
            }
            let before = match (&was, is_optional) {
                (Some(was), true) => Value::some(was.clone()),
                (Some(was), false) => was.clone(),
                (None, _) => Value::Optional(None),
            };
            self.rule(rule, path, new, [("self", own.clone()), ("oldSelf", before)], kept);
            if self.is_over {
                return;
            }
        }
    }

    fn rule(&mut self, rule: &Rule, path: &str, new: &Json, variables: [(&str, Value); 2], kept: Kept<'_>) {
        let title = rule.words.title();
        let mut budget = Budget::new(CALL_COST_MAX);
        let result = rule.program.run(&variables, &mut budget);
        if budget.spent() > self.left {
            self.stop(path, new, OUT_OF_BUDGET);
            return;
        }
        self.left -= budget.spent();
        match result {
            Ok(Value::Bool(true)) => {}
            Ok(_) => self.broken(rule, path, new, &variables, kept),
            Err(RunError::Cost) => {
                let why = format!(
                    "'{}': no further validation rules will be run due to call cost exceeds limit for rule: {title}",
                    RunError::Cost
                );
                self.stop(path, new, &why);
            }
            Err(RunError::Value(why)) if why.starts_with("no such overload") => {
                let why = format!(
                    "'{why}': call arguments did not match a supported operator, function or macro signature for rule: {title}"
                );
                self.found.causes.push(invalid(path, new, &why));
            }
            Err(RunError::Value(why)) => {
                self.found.causes.push(invalid(path, new, &format!("{why} evaluating rule: {title}")));
            }
        }
    }

    fn broken(
        &mut self,
        rule: &Rule,
        path: &str,
        new: &Json,
        variables: &[(&str, Value); 2],
        kept: Kept<'_>,
    ) {
        let words = &rule.words;
        let path = if rule.below.is_empty() { path.to_owned() } else { joined(path, &rule.below) };
        let said = match &rule.message {
            Some(program) => self.message(program, &path, new, variables),
            None => None,
        };
        let said = said.unwrap_or_else(|| match words.message.as_str() {
            "" => format!("failed rule: {}", words.rule.trim()),
            message => message.trim().to_owned(),
        });
        let cause = match words.reason.as_str() {
            "FieldValueForbidden" => cause(&path, "FieldValueForbidden", format!("Forbidden: {said}")),
            "FieldValueRequired" => cause(&path, "FieldValueRequired", format!("Required value: {said}")),
            "FieldValueDuplicate" => {
                let shown = scalar(new).map_or(String::new(), |v| format!(": {v}"));
                cause(&path, "FieldValueDuplicate", format!("Duplicate value{shown}"))
            }
            _ => invalid(&path, new, &said),
        };
        if !rule.reads_old && kept.is_as_it_was() {
            self.found.warnings.push(format!("{}: {}", cause.field, cause.message));
        } else {
            self.found.causes.push(cause);
        }
    }

    /// The message that an expression makes; nothing when it makes none that can be shown.
    fn message(
        &mut self,
        program: &crate::Program,
        path: &str,
        new: &Json,
        variables: &[(&str, Value); 2],
    ) -> Option<String> {
        let mut budget = Budget::new(CALL_COST_MAX.min(self.left));
        let result = program.run(variables, &mut budget);
        self.left = self.left.saturating_sub(budget.spent());
        match result {
            Ok(Value::Text(text)) => {
                let text = text.trim();
                let is_shown = !text.is_empty() && text.len() <= MESSAGE_BYTES_MAX && !text.contains('\n');
                is_shown.then(|| text.to_owned())
            }
            Err(RunError::Cost) => {
                let why = "messageExpression evaluation failed due to running out of cost budget, no further validation \
                           rules will be run";
                self.stop(path, new, why);
                None
            }
            _ => None,
        }
    }

    fn stop(&mut self, path: &str, new: &Json, why: &str) {
        self.found.causes.push(invalid(path, new, why));
        self.is_over = true;
    }
}

/// The items of a keyed list by what they are known by; nothing of other lists.
fn by_keys<'a>(node: &Node, list: Option<&'a Json>) -> BTreeMap<String, &'a Json> {
    let (Some(keys), Some(items)) = (&node.keys, list.and_then(Json::as_array)) else {
        return BTreeMap::new();
    };
    items.iter().map(|item| (key_of(item, keys), item)).collect()
}

fn key_of(item: &Json, keys: &[String]) -> String {
    keys.iter().map(|k| format!("{};", item[k])).collect()
}

fn child(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn joined(path: &str, below: &str) -> String {
    if path.is_empty() || below.starts_with('[') {
        format!("{path}{below}")
    } else {
        format!("{path}.{below}")
    }
}

fn cause(path: &str, reason: &str, message: String) -> Cause {
    let field = if path.is_empty() { "<nil>" } else { path };
    Cause { field: field.to_owned(), reason: reason.to_owned(), message }
}

/// Objects and lists are not shown: they may be large.
fn scalar(value: &Json) -> Option<&Json> {
    (!value.is_object() && !value.is_array()).then_some(value)
}

fn invalid(path: &str, value: &Json, why: &str) -> Cause {
    let shown = scalar(value).map_or(String::new(), |v| format!("{v}: "));
    cause(path, "FieldValueInvalid", format!("Invalid value: {shown}{why}"))
}
