//! kubectl's JSONPath templates: text, `{.a.b[0]}`, `{range .items[*]}…{end}`, `{"\n"}`, filters, `..name`.

use anyhow::{Context, bail};
use serde_json::Value;

/// A parsed template.
#[derive(Debug)]
pub(crate) struct Template(Vec<Node>);

#[derive(Debug)]
enum Node {
    Text(String),
    Path(Vec<Step>),
    Range(Vec<Step>, Vec<Node>),
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Root,
    Field(String),
    Wild,
    /// Itself and everything below it.
    Deep,
    /// Items or fields, each chosen on its own.
    Choice(Vec<Pick>),
    Filter(Box<Test>),
}

#[derive(Clone, Debug, PartialEq)]
enum Pick {
    Field(String),
    Index(i64),
    Slice(Option<i64>, Option<i64>, i64),
}

#[derive(Clone, Debug, PartialEq)]
struct Test {
    left: Operand,
    /// The sign and what stands behind it; without one the left side must exist.
    rest: Option<(String, Operand)>,
}

#[derive(Clone, Debug, PartialEq)]
enum Operand {
    Path(Vec<Step>),
    Literal(Value),
}

impl Template {
    /// Reads a template; one without braces is a single path.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Template> {
        let text = text.trim_matches('\'');
        if text.is_empty() {
            bail!("the template is empty");
        }
        if !text.contains('{') {
            return Ok(Template(vec![Node::Path(path(text)?)]));
        }
        let mut rest = text;
        let nodes = nodes(&mut rest, false)?;
        Ok(Template(nodes))
    }

    /// The text for an object.
    pub(crate) fn render(&self, object: &Value) -> String {
        let mut out = String::new();
        render(&self.0, object, object, &mut out);
        out
    }

    /// The values that the paths of the template find.
    pub(crate) fn values<'v>(&self, object: &'v Value) -> Vec<&'v Value> {
        let paths = self.0.iter().filter_map(|n| match n {
            Node::Path(steps) => Some(find(steps, object, object)),
            _ => None,
        });
        paths.flatten().filter(|v| !v.is_null()).collect()
    }
}

/// A value as the output shows it: texts bare, the rest as JSON.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn nodes(rest: &mut &str, inside: bool) -> anyhow::Result<Vec<Node>> {
    let mut out = Vec::new();
    while !rest.is_empty() {
        let Some(open) = rest.find('{') else {
            out.push(Node::Text(std::mem::take(rest).to_owned()));
            break;
        };
        if open > 0 {
            out.push(Node::Text(rest[..open].to_owned()));
        }
        let end = closing(&rest[open..]).context("a brace is not closed")? + open;
        let inner = rest[open + 1..end].trim();
        *rest = &rest[end + 1..];
        if inner == "end" {
            if inside {
                return Ok(out);
            }
            bail!("{{end}} without {{range}}");
        }
        if let Some(over) = inner.strip_prefix("range ") {
            let over = path(over.trim())?;
            out.push(Node::Range(over, nodes(rest, true)?));
        } else if inner.starts_with(['"', '\'']) {
            out.push(Node::Text(unquote(inner)?));
        } else {
            out.push(Node::Path(path(inner)?));
        }
    }
    if inside {
        bail!("{{range}} without {{end}}");
    }
    Ok(out)
}

/// Where the brace that opens the text closes; braces within quotes do not count.
fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut before = '\0';
    for (i, c) in text.char_indices() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(q), c) if c == q && before != '\\' => quote = None,
            (None, '}') => return Some(i),
            _ => {}
        }
        before = c;
    }
    None
}

fn unquote(text: &str) -> anyhow::Result<String> {
    let quote = &text[..1];
    let inner = text[1..].strip_suffix(quote).with_context(|| format!("{text}: the quote is not closed"))?;
    Ok(inner.replace("\\n", "\n").replace("\\t", "\t").replace("\\\"", "\"").replace("\\\\", "\\"))
}

fn path(text: &str) -> anyhow::Result<Vec<Step>> {
    let mut steps = Vec::new();
    let mut rest = text;
    if let Some(after) = rest.strip_prefix('$') {
        steps.push(Step::Root);
        rest = after;
    } else if let Some(after) = rest.strip_prefix('@') {
        rest = after;
    }
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let end = bracket_end(inner).with_context(|| format!("{text}: a bracket is not closed"))?;
            steps.push(bracket(&inner[..end])?);
            rest = &inner[end + 1..];
            continue;
        }
        if let Some(after) = rest.strip_prefix("..") {
            steps.push(Step::Deep);
            rest = after;
        } else if let Some(after) = rest.strip_prefix('.') {
            rest = after;
        }
        let (name, after) = word(rest);
        match name.as_str() {
            "" => {}
            "*" => steps.push(Step::Wild),
            _ => steps.push(Step::Field(name)),
        }
        if after.len() == rest.len()
            && !after.starts_with('[')
            && !after.is_empty()
            && !after.starts_with('.')
        {
            bail!("{text}: cannot read on at {after:?}");
        }
        rest = after;
    }
    Ok(steps)
}

/// A name up to the next dot or bracket; a backslash keeps a dot in the name.
fn word(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut escaped = false;
    for (i, c) in text.char_indices() {
        match c {
            '\\' if !escaped => escaped = true,
            '.' | '[' if !escaped => return (name, &text[i..]),
            c => {
                name.push(c);
                escaped = false;
            }
        }
    }
    (name, "")
}

fn bracket_end(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0, None);
    for (i, c) in text.char_indices() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(q), c) if q == c => quote = None,
            (None, '[') => depth += 1,
            (None, ']') if depth == 0 => return Some(i),
            (None, ']') => depth -= 1,
            _ => {}
        }
    }
    None
}

fn bracket(text: &str) -> anyhow::Result<Step> {
    let text = text.trim();
    if text == "*" {
        return Ok(Step::Wild);
    }
    if let Some(test) = text.strip_prefix("?(").and_then(|t| t.strip_suffix(')')) {
        return Ok(Step::Filter(Box::new(filter(test)?)));
    }
    let picks: anyhow::Result<Vec<Pick>> = text.split(',').map(|p| pick(p.trim())).collect();
    Ok(Step::Choice(picks?))
}

fn pick(text: &str) -> anyhow::Result<Pick> {
    if text.starts_with(['"', '\'']) {
        return Ok(Pick::Field(unquote(text)?));
    }
    let number = |t: &str| -> anyhow::Result<Option<i64>> {
        if t.is_empty() {
            Ok(None)
        } else {
            Ok(Some(t.parse().with_context(|| format!("{t:?} is no index"))?))
        }
    };
    let parts: Vec<&str> = text.split(':').collect();
    match parts[..] {
        [one] => Ok(Pick::Index(number(one)?.context("an index is missing")?)),
        [from, to] => Ok(Pick::Slice(number(from)?, number(to)?, 1)),
        [from, to, step] => Ok(Pick::Slice(number(from)?, number(to)?, number(step)?.unwrap_or(1).max(1))),
        _ => bail!("{text:?} is no index, slice or quoted name"),
    }
}

fn filter(text: &str) -> anyhow::Result<Test> {
    for sign in ["==", "!=", ">=", "<=", ">", "<"] {
        if let Some((left, right)) = text.split_once(sign) {
            return Ok(Test {
                left: operand(left.trim())?,
                rest: Some((sign.to_owned(), operand(right.trim())?)),
            });
        }
    }
    Ok(Test { left: operand(text.trim())?, rest: None })
}

fn operand(text: &str) -> anyhow::Result<Operand> {
    if text.starts_with(['"', '\'']) {
        return Ok(Operand::Literal(Value::from(unquote(text)?)));
    }
    match serde_json::from_str(text) {
        Ok(literal) => Ok(Operand::Literal(literal)),
        Err(_) => Ok(Operand::Path(path(text)?)),
    }
}

fn render(nodes: &[Node], root: &Value, at: &Value, out: &mut String) {
    for node in nodes {
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Path(steps) => {
                let found: Vec<String> = find(steps, root, at).into_iter().map(plain).collect();
                out.push_str(&found.join(" "));
            }
            Node::Range(steps, body) => {
                find(steps, root, at).into_iter().for_each(|item| render(body, root, item, out));
            }
        }
    }
}

fn find<'v>(steps: &[Step], root: &'v Value, at: &'v Value) -> Vec<&'v Value> {
    let mut found = vec![at];
    for step in steps {
        let mut next = Vec::new();
        for value in found {
            walk(step, root, value, &mut next);
        }
        found = next;
    }
    found
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(list) => list.iter().collect(),
        Value::Object(map) => map.values().collect(),
        _ => Vec::new(),
    }
}

fn walk<'v>(step: &Step, root: &'v Value, value: &'v Value, out: &mut Vec<&'v Value>) {
    match step {
        Step::Root => out.push(root),
        Step::Field(name) => out.extend(value.get(name)),
        Step::Wild => out.extend(children(value)),
        Step::Deep => {
            out.push(value);
            children(value).into_iter().for_each(|c| walk(step, root, c, out));
        }
        Step::Choice(picks) => picks.iter().for_each(|p| choose(p, value, out)),
        Step::Filter(test) => out.extend(children(value).into_iter().filter(|v| holds(test, root, v))),
    }
}

fn choose<'v>(pick: &Pick, value: &'v Value, out: &mut Vec<&'v Value>) {
    let list = value.as_array().map_or(&[][..], Vec::as_slice);
    let length = i64::try_from(list.len()).unwrap_or(i64::MAX);
    let from_end = |i: i64| if i < 0 { i + length } else { i };
    let get = |i: i64| usize::try_from(i).ok().and_then(|i| list.get(i));
    match pick {
        Pick::Field(name) => out.extend(value.get(name)),
        Pick::Index(i) => out.extend(get(from_end(*i))),
        Pick::Slice(from, to, step) => {
            let (mut i, end) =
                (from_end(from.unwrap_or(0)).max(0), from_end(to.unwrap_or(length)).min(length));
            while i < end {
                out.extend(get(i));
                i += step;
            }
        }
    }
}

fn holds(test: &Test, root: &Value, value: &Value) -> bool {
    let values = |operand: &Operand| -> Vec<Value> {
        match operand {
            Operand::Literal(v) => vec![v.clone()],
            Operand::Path(steps) => find(steps, root, value).into_iter().cloned().collect(),
        }
    };
    let left = values(&test.left);
    let Some((sign, right)) = &test.rest else { return left.iter().any(|v| !v.is_null()) };
    let right = values(right);
    let (Some(a), Some(b)) = (left.first(), right.first()) else { return false };
    let order = match (a.as_f64(), b.as_f64()) {
        (Some(x), Some(y)) => x.partial_cmp(&y),
        _ => Some(plain(a).cmp(&plain(b))),
    };
    match sign.as_str() {
        "==" => order.is_some_and(|o| o.is_eq()),
        "!=" => order.is_some_and(|o| o.is_ne()),
        ">=" => order.is_some_and(|o| o.is_ge()),
        "<=" => order.is_some_and(|o| o.is_le()),
        ">" => order.is_some_and(|o| o.is_gt()),
        _ => order.is_some_and(|o| o.is_lt()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(template: &str) -> String {
        let list = json!({"kind": "List", "items": [
            {"metadata": {"name": "a", "labels": {"x.y/z": "1"}}, "status": {"ready": true, "n": 3,
                "conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}]}},
            {"metadata": {"name": "b"}, "status": {"n": 5}}]});
        Template::parse(template).unwrap().render(&list)
    }

    #[test]
    fn paths_find_values() {
        assert_eq!(shown("{.items[0].metadata.name}"), "a");
        assert_eq!(shown(".items[*].metadata.name"), "a b");
        assert_eq!(shown("{.items[-1:].metadata.name}"), "b");
        assert_eq!(shown("{..name}"), "a b");
        assert_eq!(shown("{.items[0].metadata.labels.x\\.y/z}"), "1");
        assert_eq!(shown("{.items[0]['metadata','status'].name}"), "a");
        assert_eq!(shown("{.items[0].metadata.labels}"), r#"{"x.y/z":"1"}"#);
        assert_eq!(shown("{$.kind}{.none}"), "List");
    }

    #[test]
    fn filters_and_ranges_choose() {
        assert_eq!(shown(r#"{.items[0].status.conditions[?(@.type=="Ready")].status}"#), "True");
        assert_eq!(shown("{.items[?(@.status.n>3)].metadata.name}"), "b");
        assert_eq!(shown("{.items[?(@.status.ready)].metadata.name}"), "a");
        assert_eq!(
            shown(r#"{range .items[*]}{.metadata.name}{"\t"}{.status.n}{"\n"}{end}done"#),
            "a\t3\nb\t5\ndone"
        );
    }

    #[test]
    fn broken_templates_are_refused() {
        for bad in ["", "{.a", "{range .a}x", "{end}", "{.a[0}", "{.a[x]}"] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
    }
}
