//! The walk: one small check per group of keywords.

use api_meta::Cause;
use serde_json::{Map, Value};

use super::formats::{fits, is_known};
use super::{Kind, List, Validator};

/// Findings of one validation are not more than this.
const FOUND_MAX: usize = 256;

fn cause(field: &str, reason: &str, message: String) -> Cause {
    Cause { field: field.to_owned(), reason: reason.to_owned(), message }
}

fn invalid(field: &str, value: &Value, message: String) -> Cause {
    cause(field, "FieldValueInvalid", format!("Invalid value: {value}: {message}"))
}

fn mistyped(field: &str, wanted: &str, shown: &str) -> Cause {
    let message = format!("Invalid value: {shown:?}: {field} in body must be of type {wanted}: {shown:?}");
    cause(field, "FieldValueTypeInvalid", message)
}

/// Findings that upstream reports without a field.
fn nowhere(message: String) -> Cause {
    cause("<nil>", "FieldValueInvalid", format!("Invalid value: \"\": {message}"))
}

fn below(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

impl Validator {
    pub(super) fn check(&self, value: &Value, path: &str, found: &mut Vec<Cause>) {
        if found.len() >= FOUND_MAX || (value.is_null() && self.is_nullable) {
            return;
        }
        if !self.check_kind(value, path, found) || !self.check_format(value, path, found) {
            return;
        }
        self.check_choices(value, path, found);
        match value {
            Value::String(s) => self.check_text(value, s, path, found),
            Value::Number(n) => self.check_number(value, n.as_f64().unwrap_or_default(), path, found),
            Value::Array(items) => self.check_items(value, items, path, found),
            Value::Object(map) => self.check_object(map, path, found),
            _ => {}
        }
        self.check_junctors(value, path, found);
    }

    /// False when the value is null where it may not be, so that nothing else can be said about it.
    fn check_kind(&self, value: &Value, path: &str, found: &mut Vec<Cause>) -> bool {
        let (fits_kind, wanted) = match self.kind {
            Kind::Any => (true, ""),
            Kind::Object => (value.is_object(), "object"),
            Kind::Array => (value.is_array(), "array"),
            Kind::String => (value.is_string(), "string"),
            Kind::Integer => (is_whole(value), "integer"),
            Kind::Number => (value.is_number(), "number"),
            Kind::Boolean => (value.is_boolean(), "boolean"),
            Kind::IntOrString => (value.is_string() || is_whole(value), "integer,string"),
        };
        if fits_kind {
            return true;
        }
        let is_number = matches!(self.kind, Kind::Integer | Kind::Number);
        let is_formatted = is_known(&self.format);
        match value {
            Value::Null => found.push(mistyped(path, wanted, "null")),
            // Upstream's validator looks at formats first, and lets texts and lists pass there.
            Value::String(_) | Value::Array(_) if is_formatted && !is_number => {}
            Value::String(_) | Value::Array(_) => found.push(mistyped(path, wanted, kind_name(value))),
            _ if is_formatted => found.push(mistyped(path, &self.format, own_format(value))),
            _ => found.push(mistyped(path, wanted, kind_name(value))),
        }
        !value.is_null()
    }

    /// False when the value is not of the format, so that nothing else can be said about it.
    fn check_format(&self, value: &Value, path: &str, found: &mut Vec<Cause>) -> bool {
        match value {
            Value::String(s) if !fits(&self.format, s) => {
                found.push(mistyped(path, &self.format, s));
                false
            }
            Value::Number(_)
                if self.format == "int32" && value.as_i64().is_none_or(|n| i32::try_from(n).is_err()) =>
            {
                let kind = if self.kind == Kind::Number { "number" } else { "integer" };
                found.push(nowhere(format!(
                    "Checked value must be of type {kind} with format int32 in {path}"
                )));
                false
            }
            _ => true,
        }
    }

    fn check_choices(&self, value: &Value, path: &str, found: &mut Vec<Cause>) {
        let same = |choice: &Value| match (choice.as_f64(), value.as_f64()) {
            (Some(a), Some(b)) => a == b,
            _ => choice == value,
        };
        if self.choices.is_empty() || self.choices.iter().any(same) {
            return;
        }
        let choices: Vec<String> = self.choices.iter().map(Value::to_string).collect();
        let message = format!("Unsupported value: {value}: supported values: {}", choices.join(", "));
        found.push(cause(path, "FieldValueNotSupported", message));
    }

    fn check_text(&self, value: &Value, text: &str, path: &str, found: &mut Vec<Cause>) {
        let length = text.chars().count() as u64;
        if self.length.max.is_some_and(|max| length > max) {
            let max = self.length.max.unwrap_or_default();
            found.push(cause(
                path,
                "FieldValueTooLong",
                format!("Too long: may not be more than {max} bytes"),
            ));
        }
        if let Some(min) = self.length.min.filter(|min| length < *min) {
            found.push(invalid(path, value, format!("{path} in body should be at least {min} chars long")));
        }
        if let Some(pattern) = self.pattern.as_ref().filter(|p| !p.is_match(text)) {
            found.push(invalid(path, value, format!("{path} in body should match '{pattern}'")));
        }
    }

    fn check_number(&self, value: &Value, n: f64, path: &str, found: &mut Vec<Cause>) {
        if let Some(max) = self.maximum.filter(|b| n > b.at || (b.is_exclusive && n == b.at)) {
            let how = if max.is_exclusive { "less than" } else { "less than or equal to" };
            found.push(invalid(path, value, format!("{path} in body should be {how} {}", max.at)));
        }
        if let Some(min) = self.minimum.filter(|b| n < b.at || (b.is_exclusive && n == b.at)) {
            let how = if min.is_exclusive { "greater than" } else { "greater than or equal to" };
            found.push(invalid(path, value, format!("{path} in body should be {how} {}", min.at)));
        }
        if let Some(by) = self.multiple_of.filter(|by| *by != 0.0 && (n / by).fract() != 0.0) {
            found.push(invalid(path, value, format!("{path} in body should be a multiple of {by}")));
        }
    }

    fn check_items(&self, value: &Value, items: &[Value], path: &str, found: &mut Vec<Cause>) {
        let count = items.len() as u64;
        if let Some(max) = self.items_count.max.filter(|max| count > *max) {
            found.push(too_many(path, count, max));
            return;
        }
        if let Some(min) = self.items_count.min.filter(|min| count < *min) {
            found.push(invalid(
                path,
                &count.into(),
                format!("{path} in body should have at least {min} items"),
            ));
        }
        if self.is_unique && items.iter().enumerate().any(|(i, item)| items[..i].contains(item)) {
            found.push(invalid(path, value, format!("{path} in body shouldn't contain duplicates")));
        }
        if let Some(schema) = &self.items {
            for (i, item) in items.iter().enumerate() {
                schema.check(item, &format!("{path}[{i}]"), found);
            }
        }
        self.check_list_type(items, path, found);
    }

    fn check_list_type(&self, items: &[Value], path: &str, found: &mut Vec<Cause>) {
        let key = |item: &Value| match &self.list {
            List::Plain => None,
            List::Set => Some(item.clone()),
            List::Map(keys) => {
                let item = item.as_object()?;
                let of = |k: &String| item.get(k).map(|v| (k.clone(), v.clone()));
                Some(Value::Object(keys.iter().filter_map(of).collect::<Map<_, _>>()))
            }
        };
        let mut seen = std::collections::BTreeSet::new();
        for (i, item) in items.iter().enumerate() {
            let Some(key) = key(item) else { continue };
            if !seen.insert(key.to_string()) {
                let field = format!("{path}[{i}]");
                found.push(cause(&field, "FieldValueDuplicate", format!("Duplicate value: {key}")));
            }
        }
    }

    fn check_object(&self, map: &Map<String, Value>, path: &str, found: &mut Vec<Cause>) {
        let count = map.len() as u64;
        if let Some(max) = self.properties_count.max.filter(|max| count > *max) {
            found.push(too_many(path, count, max));
        }
        if let Some(min) = self.properties_count.min.filter(|min| count < *min) {
            // Upstream shows how many there are, not which.
            let why = format!("{path} in body should have at least {min} properties");
            found.push(invalid(path, &Value::from(count), why));
        }
        let embedded = ["apiVersion", "kind"].into_iter().filter(|_| self.is_embedded);
        let required = self.required.iter().map(String::as_str).chain(embedded);
        for name in required.filter(|name| !map.contains_key(*name)) {
            found.push(cause(&below(path, name), "FieldValueRequired", "Required value".to_owned()));
        }
        for (name, value) in map {
            let schema = self.properties.get(name).or(self.additional.as_deref());
            if let Some(schema) = schema {
                schema.check(value, &below(path, name), found);
            }
        }
    }

    fn check_junctors(&self, value: &Value, path: &str, found: &mut Vec<Cause>) {
        for schema in &self.all_of {
            let before = found.len();
            schema.check(value, path, found);
            if found.len() > before {
                found.insert(before, nowhere(format!("\"{path}\" must validate all the schemas (allOf)")));
            }
        }
        let tried = |schemas: &[Validator]| -> (usize, Vec<Cause>) {
            let all: Vec<Vec<Cause>> = schemas.iter().map(|s| s.validate_at(value, path)).collect();
            let passed = all.iter().filter(|f| f.is_empty()).count();
            (passed, all.into_iter().min_by_key(Vec::len).unwrap_or_default())
        };
        if !self.any_of.is_empty() {
            let (passed, nearest) = tried(&self.any_of);
            if passed == 0 {
                found.push(nowhere(format!("\"{path}\" must validate at least one schema (anyOf)")));
                found.extend(nearest);
            }
        }
        if !self.one_of.is_empty() {
            let (passed, nearest) = tried(&self.one_of);
            let head = format!("\"{path}\" must validate one and only one schema (oneOf).");
            match passed {
                0 => {
                    found.push(nowhere(format!("{head} Found none valid")));
                    found.extend(nearest);
                }
                1 => {}
                n => found.push(nowhere(format!("{head} Found {n} valid alternatives"))),
            }
        }
        if self.not.as_ref().is_some_and(|s| s.validate_at(value, path).is_empty()) {
            found.push(nowhere(format!("\"{path}\" must not validate the schema (not)")));
        }
    }
}

fn too_many(path: &str, count: u64, max: u64) -> Cause {
    let things = if max == 1 { "item" } else { "items" };
    cause(path, "FieldValueTooMany", format!("Too many: {count}: must have at most {max} {things}"))
}

fn is_whole(v: &Value) -> bool {
    v.is_i64() || v.is_u64() || v.as_f64().is_some_and(|n| n.fract() == 0.0)
}

/// The format that a value has by itself.
fn own_format(v: &Value) -> &'static str {
    match v {
        Value::Number(_) if is_whole(v) => "int64",
        Value::Number(_) => "double",
        _ => "",
    }
}

fn kind_name(v: &Value) -> &'static str {
    match v {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) if is_whole(v) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
