//! `x-kubernetes-validations`: judged when a definition is accepted, run when an object is written.

mod check;
mod compile;
mod judge;
mod path;

pub use check::check;
pub use judge::Findings;

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::env::Program;
use crate::types::Type;

/// The compiled rules of a schema.
#[derive(Clone, Debug)]
pub struct Rules {
    root: Node,
}

/// Rules of one part of a schema, and of the parts below that have some.
#[derive(Clone, Debug)]
struct Node {
    of: Type,
    rules: Vec<Rule>,
    properties: BTreeMap<String, Node>,
    additional: Option<Box<Node>>,
    items: Option<Box<Node>>,
    all_of: Vec<Node>,
    /// Fields by which the items of a list are known again.
    keys: Option<Vec<String>>,
    /// Its fields are known again by their names.
    is_granular: bool,
}

/// A compiled rule.
#[derive(Clone, Debug)]
struct Rule {
    words: Words,
    program: Program,
    message: Option<Program>,
    reads_old: bool,
    /// Where a finding points to, below the value: `.min`; empty for the value itself.
    below: String,
}

/// A rule as the definition has it.
#[derive(Clone, Debug, Default)]
struct Words {
    rule: String,
    message: String,
    message_expression: String,
    reason: String,
    field_path: String,
    optional_old: Option<bool>,
}

impl Words {
    fn of(rule: &Json) -> Words {
        let text = |key: &str| rule[key].as_str().unwrap_or_default().to_owned();
        Words {
            rule: text("rule"),
            message: text("message"),
            message_expression: text("messageExpression"),
            reason: text("reason"),
            field_path: text("fieldPath"),
            optional_old: rule["optionalOldSelf"].as_bool(),
        }
    }

    /// What a rule is called in messages: its message, or itself.
    fn title(&self) -> &str {
        if self.message.is_empty() { self.rule.trim() } else { self.message.trim() }
    }
}

fn rules_of(schema: &Json) -> impl Iterator<Item = &Json> {
    schema["x-kubernetes-validations"].as_array().into_iter().flatten()
}

impl Rules {
    /// Compiles the rules of a whole schema; nothing when it has none that can be compiled.
    pub fn compile(schema: &Json) -> Option<Rules> {
        compile::root(schema).map(|root| Rules { root })
    }

    /// Findings about an object. With the object it replaces, rules about changes run, and what is as it was is forgiven.
    pub fn judge(&self, new: &Json, old: Option<&Json>) -> Findings {
        judge::judge(&self.root, new, old)
    }
}
