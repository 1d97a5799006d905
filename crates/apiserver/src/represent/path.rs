//! The part of JSONPath that printer columns, selectable fields and scale paths use.
//!
//! `.a.b`, `.a['b.c']`, `.a[0]`, `.a[*]`, `.a[?(@.type=="Ready")].status`, with or without braces and leading dot.

use serde_json::Value;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
    All,
    Where { field: Vec<String>, equal: bool, value: String },
}

/// The values at a path, in document order.
pub(crate) fn find<'a>(object: &'a Value, path: &str) -> Vec<&'a Value> {
    let Some(steps) = parse(path) else { return Vec::new() };
    let mut found = vec![object];
    for step in &steps {
        found = found.into_iter().flat_map(|v| follow(v, step)).collect();
    }
    found.retain(|v| !v.is_null());
    found
}

/// The first value at a path as text; empty when absent.
pub(crate) fn text(object: &Value, path: &str) -> String {
    find(object, path).first().map(|v| shown(v)).unwrap_or_default()
}

/// Whether a path can be read.
pub(crate) fn is_readable(path: &str) -> bool {
    parse(path).is_some()
}

/// Puts a value at a path of plain keys, making maps on the way.
pub(crate) fn put(object: &mut Value, path: &str, value: Value) {
    let Some(steps) = parse(path) else { return };
    let mut at = object;
    for step in steps {
        let Step::Key(key) = step else { return };
        if !at.is_object() {
            *at = Value::Object(serde_json::Map::new());
        }
        at = &mut at[key.as_str()];
    }
    *at = value;
}

/// A value as a table shows it.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::String(s) => s.clone(),
        other => other.to_string(),
    }
}

fn follow<'a>(value: &'a Value, step: &Step) -> Vec<&'a Value> {
    match (step, value) {
        (Step::Key(key), Value::Object(map)) => map.get(key).into_iter().collect(),
        (Step::Index(i), Value::Array(items)) => items.get(*i).into_iter().collect(),
        (Step::All, Value::Array(items)) => items.iter().collect(),
        (Step::All, Value::Object(map)) => map.values().collect(),
        (Step::Where { field, equal, value }, Value::Array(items)) => {
            let is = |item: &&Value| {
                let mut at = *item;
                for key in field {
                    at = &at[key.as_str()];
                }
                (shown(at) == *value) == *equal
            };
            items.iter().filter(is).collect()
        }
        _ => Vec::new(),
    }
}

fn parse(path: &str) -> Option<Vec<Step>> {
    let path = path.trim();
    let path = path.strip_prefix('{').and_then(|p| p.strip_suffix('}')).unwrap_or(path);
    let mut rest = path.strip_prefix('$').unwrap_or(path);
    let mut steps = Vec::new();
    if !rest.starts_with(['.', '[']) && !rest.is_empty() {
        let (key, after) = key(rest)?;
        steps.push(Step::Key(key));
        rest = after;
    }
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let (key, after) = key(after)?;
            steps.push(Step::Key(key));
            rest = after;
        } else {
            let (step, after) = bracket(rest.strip_prefix('[')?)?;
            steps.push(step);
            rest = after;
        }
    }
    Some(steps)
}

/// A key up to the next dot or bracket; a backslash takes the next character as it is.
fn key(text: &str) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => out.push(chars.next()?.1),
            '.' | '[' => return (!out.is_empty()).then_some((out, &text[at..])),
            c => out.push(c),
        }
    }
    (!out.is_empty()).then_some((out, ""))
}

fn bracket(text: &str) -> Option<(Step, &str)> {
    if let Some(quote) = text.chars().next().filter(|c| matches!(c, '\'' | '"')) {
        let end = text[1..].find(quote)? + 1;
        let after = text[end + 1..].strip_prefix(']')?;
        return Some((Step::Key(text[1..end].to_owned()), after));
    }
    if let Some(filter) = text.strip_prefix("?(") {
        let end = filter.find(")]")?;
        return Some((condition(&filter[..end])?, &filter[end + 2..]));
    }
    let end = text.find(']')?;
    let after = &text[end + 1..];
    match &text[..end] {
        "*" => Some((Step::All, after)),
        number => Some((Step::Index(number.parse().ok()?), after)),
    }
}

fn condition(text: &str) -> Option<Step> {
    let (left, equal, right) = match text.split_once("==") {
        Some((left, right)) => (left, true, right),
        None => text.split_once("!=").map(|(l, r)| (l, false, r))?,
    };
    let field = match left.trim().strip_prefix('@')? {
        "" => Vec::new(),
        path => path.strip_prefix('.')?.split('.').map(str::to_owned).collect(),
    };
    let value = right.trim().trim_matches(['"', '\'']).to_owned();
    Some(Step::Where { field, equal, value })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_of_printer_columns_are_found() {
        let object = json!({
            "spec": {"replicas": 3, "l": ["a", "b"], "m": {"x.y": "z"}},
            "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}]}
        });
        for (path, expected) in [
            (".spec.replicas", "3"),
            ("{.spec.l[1]}", "b"),
            ("spec.m['x.y']", "z"),
            (".spec.m.x\\.y", "z"),
            (".status.conditions[?(@.type==\"Ready\")].status", "True"),
            (".status.conditions[?(@.type=='Other')].status", "False"),
            (".spec.none.deeper", ""),
        ] {
            assert_eq!(text(&object, path), expected, "{path}");
        }
        assert_eq!(find(&object, ".spec.l[*]").len(), 2);
        assert_eq!(text(&object, ".spec.l[?(@ == \"b\")]"), "b");
        assert!(!is_readable(".spec["));
    }

    #[test]
    fn put_makes_maps_on_the_way() {
        let mut object = json!({});
        put(&mut object, ".spec.replicas", json!(2));
        assert_eq!(object, json!({"spec": {"replicas": 2}}));
    }
}
