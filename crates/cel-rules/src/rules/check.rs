//! Findings about the rules of a definition, as kube-apiserver 1.36 words them.

use api_meta::Cause;
use serde_json::Value as Json;

use super::compile::{env, reads_old};
use super::{Words, path, rules_of};
use crate::schema::{self, REQUEST_BYTES_MAX};
use crate::types::Type;

/// What one rule may cost at worst.
const RULE_COST_MAX: u64 = 10_000_000;
/// What all rules of a schema may cost at worst.
const SCHEMA_COST_MAX: u64 = 100_000_000;
/// How many rules are named when all together cost too much.
const EXPENSIVE_MAX: usize = 4;

/// Findings about all rules of a schema; `path` is where it stands in the definition.
pub fn check(schema: &Json, path: &str) -> Vec<Cause> {
    let mut check = Check { found: Vec::new(), total: 0, costs: Vec::new() };
    let place = Place { path: path.to_owned(), times: Some(1), unknown_from: None, is_root: true };
    check.node(schema, &place);
    check.sum(path);
    check.found
}

/// Where a part of a schema stands.
struct Place {
    path: String,
    /// How many values of it an object may have; nothing when only the size of a request bounds them.
    times: Option<u64>,
    /// The list around it whose items are not known again after a change.
    unknown_from: Option<String>,
    is_root: bool,
}

struct Check {
    found: Vec<Cause>,
    total: u64,
    costs: Vec<(u64, String)>,
}

impl Check {
    fn node(&mut self, schema: &Json, place: &Place) {
        if rules_of(schema).next().is_some() {
            self.rules(schema, place);
        }
        let below = |step: &str, times: Option<u64>, unknown_from: Option<String>, child: &Json| Place {
            path: format!("{}.{step}", place.path),
            times,
            unknown_from,
            is_root: child["x-kubernetes-embedded-resource"] == Json::Bool(true),
        };
        for (name, child) in schema["properties"].as_object().into_iter().flatten() {
            let step = format!("properties[{name}]");
            self.node(child, &below(&step, place.times, place.unknown_from.clone(), child));
        }
        let many = |key: &str| place.times.zip(schema[key].as_u64()).map(|(a, b)| a.saturating_mul(b));
        let values = &schema["additionalProperties"];
        if values.is_object() {
            let unknown = place.unknown_from.clone();
            self.node(values, &below("additionalProperties", many("maxProperties"), unknown, values));
        }
        let items = &schema["items"];
        if items.is_object() {
            let is_known = schema["x-kubernetes-list-type"] == "map";
            let unknown = place.unknown_from.clone().or_else(|| (!is_known).then(|| place.path.clone()));
            self.node(items, &below("items", many("maxItems"), unknown, items));
        }
    }

    fn rules(&mut self, schema: &Json, place: &Place) {
        let Some(declared) = schema::declared(schema, place.is_root) else {
            let keeps = schema["x-kubernetes-preserve-unknown-fields"] == Json::Bool(true);
            let message = format!(
                "Internal error: rule declared on schema that does not support validation rules type: '{}' \
                 x-kubernetes-preserve-unknown-fields: '{keeps}'",
                schema["type"].as_str().unwrap_or_default()
            );
            self.push(format!("{}.x-kubernetes-validations", place.path), "InternalError", message);
            return;
        };
        let times = place.times.unwrap_or(REQUEST_BYTES_MAX / (declared.bytes_min + 1));
        for (i, rule) in rules_of(schema).enumerate() {
            let at = format!("{}.x-kubernetes-validations[{i}]", place.path);
            let words = Words::of(rule);
            self.rule(&at, &words, schema, (&declared.of, times), place);
        }
    }

    fn rule(&mut self, at: &str, words: &Words, schema: &Json, (of, times): (&Type, u64), place: &Place) {
        if !words.rule.trim().is_empty() {
            self.expression(at, words, (of, times), place);
        }
        let env = env(of, words.optional_old == Some(true));
        if !words.message_expression.is_empty() {
            let field = format!("{at}.messageExpression");
            if words.message_expression.trim().is_empty() {
                let message = "Required value: messageExpression must be non-empty if specified".to_owned();
                self.push(field, "FieldValueRequired", message);
                return;
            }
            match env.compile(&words.message_expression) {
                Err(why) => self.invalid(
                    field,
                    &shown(words),
                    &format!("messageExpression compilation failed: {why}"),
                ),
                Ok(program) if !matches!(program.result(), Type::Text(_)) => {
                    self.invalid(field, &shown(words), "messageExpression must evaluate to a string");
                }
                Ok(program) => {
                    self.cost(&field, "estimated messageExpression cost", program.cost_max(), times)
                }
            }
        }
        if !words.field_path.is_empty()
            && let Err(why) = path::normal(&words.field_path, schema)
        {
            let why = format!("fieldPath must be a valid path: {why}");
            self.invalid(format!("{at}.fieldPath"), &Json::from(words.field_path.as_str()).to_string(), &why);
        }
    }

    fn expression(&mut self, at: &str, words: &Words, (of, times): (&Type, u64), place: &Place) {
        let field = format!("{at}.rule");
        let program = match env(of, words.optional_old == Some(true)).compile(&words.rule) {
            Ok(program) => program,
            Err(why) => return self.invalid(field, &shown(words), &format!("compilation failed: {why}")),
        };
        if !matches!(program.result(), Type::Bool) {
            return self.invalid(field, &shown(words), "cel expression must evaluate to a bool");
        }
        let text = Json::from(words.rule.as_str()).to_string();
        match (&place.unknown_from, reads_old(&program)) {
            (Some(list), true) => {
                let why = format!(
                    "oldSelf cannot be used on the uncorrelatable portion of the schema within {list}"
                );
                self.invalid(field.clone(), &text, &why);
            }
            (_, false) if words.optional_old.is_some() => {
                let shown = words.optional_old == Some(true);
                let why = "may not be set if oldSelf is not used in rule";
                self.invalid(format!("{at}.optionalOldSelf"), &shown.to_string(), why);
            }
            _ => {}
        }
        self.cost(&field, "estimated rule cost", program.cost_max(), times);
    }

    fn cost(&mut self, field: &str, what: &str, once: u64, times: u64) {
        let cost = once.saturating_mul(times);
        if cost > RULE_COST_MAX {
            self.push(
                field.to_owned(),
                "FieldValueForbidden",
                format!("Forbidden: {}", too_much(what, cost, RULE_COST_MAX)),
            );
        }
        self.total = self.total.saturating_add(cost);
        self.costs.push((cost, field.to_owned()));
    }

    fn sum(&mut self, path: &str) {
        if self.total <= SCHEMA_COST_MAX {
            return;
        }
        let mut costs = std::mem::take(&mut self.costs);
        costs.sort_by_key(|cost| std::cmp::Reverse(cost.0));
        for (_, field) in costs.into_iter().take(EXPENSIVE_MAX) {
            let why = "Forbidden: contributed to estimated rule & messageExpression cost total exceeding cost limit for entire \
                       OpenAPIv3 schema";
            self.push(field, "FieldValueForbidden", why.to_owned());
        }
        let what = "x-kubernetes-validations estimated rule & messageExpression cost total for entire OpenAPIv3 schema";
        let why = format!("Forbidden: {}", too_much(what, self.total, SCHEMA_COST_MAX));
        self.push(path.to_owned(), "FieldValueForbidden", why);
    }

    fn invalid(&mut self, field: String, shown: &str, why: &str) {
        self.push(field, "FieldValueInvalid", format!("Invalid value: {shown}: {why}"));
    }

    fn push(&mut self, field: String, reason: &str, message: String) {
        self.found.push(Cause { field, reason: reason.to_owned(), message });
    }
}

/// By how much a cost is too high, as upstream rounds it.
fn too_much(what: &str, cost: u64, limit: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
    let factor = cost as f64 / limit as f64;
    let factor = match factor {
        f if f > 100.0 => "more than 100x".to_owned(),
        f if f < 1.5 => format!("{f:.6}x"),
        f => format!("{f:.1}x"),
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and \
         maxLength where arrays, maps, and strings are declared)"
    )
}

/// A rule as upstream prints it in findings.
fn shown(words: &Words) -> String {
    let quoted = |text: &str| Json::from(text).to_string();
    let reason = if words.reason.is_empty() { "null".to_owned() } else { quoted(&words.reason) };
    let old = words.optional_old.map_or("null".to_owned(), |b| b.to_string());
    format!(
        "{{\"Rule\":{},\"Message\":{},\"MessageExpression\":{},\"Reason\":{reason},\"FieldPath\":{},\"OptionalOldSelf\":{old}}}",
        quoted(&words.rule),
        quoted(&words.message),
        quoted(&words.message_expression),
        quoted(&words.field_path),
    )
}
