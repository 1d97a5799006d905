//! Where in a manifest a field stands.
//!
//! The YAML crate gives places for syntax errors only, and its spanned relatives would be one more parser in the build for
//! one line number. So a light scanner walks the lines of block style: keys, list dashes, indents. Where it cannot follow
//! (flow style, anchors) the line of the nearest parent is given, which is still right.

use serde_json::Value;

/// One step of a path as servers write it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Field(String),
    Index(usize),
    /// An item by some of its fields.
    Keys(Vec<(String, Value)>),
}

/// The line (from 1) of a field within the text of one document. `path` is in the notation of the server's messages:
/// `spec.containers[0].image`, `.spec.ports[name="http"].port`, `metadata.labels[a.b/c]`.
pub(crate) fn line(text: &str, document: &Value, path: &str) -> usize {
    let lines: Vec<Line<'_>> = text.lines().enumerate().filter_map(|(i, l)| Line::read(i + 1, l)).collect();
    let mut found = lines.first().map_or(1, |l| l.number);
    let mut at = document;
    let mut block = &lines[..];
    for step in parse(path) {
        let next = match &step {
            Step::Field(name) => {
                at = at.get(name).unwrap_or(&Value::Null);
                field(block, name)
            }
            Step::Index(index) => {
                at = at.get(index).unwrap_or(&Value::Null);
                item(block, *index)
            }
            Step::Keys(keys) => {
                let fits = |v: &Value| keys.iter().all(|(k, want)| v.get(k).is_none_or(|have| have == want));
                let list = at.as_array().map_or(&[][..], Vec::as_slice);
                let Some(index) = list.iter().position(fits) else { return found };
                at = &list[index];
                item(block, index)
            }
        };
        let Some((number, below)) = next else { return found };
        found = number;
        block = below;
    }
    found
}

/// A line that carries a key, a dash or both.
#[derive(Clone, Debug)]
struct Line<'t> {
    number: usize,
    indent: usize,
    /// Columns of the dashes before the key, outermost first.
    dashes: Vec<usize>,
    key: Option<&'t str>,
    /// Column of the key.
    column: usize,
}

impl<'t> Line<'t> {
    fn read(number: usize, text: &'t str) -> Option<Line<'t>> {
        let mut column = text.len() - text.trim_start().len();
        let mut rest = text.trim_start();
        if rest.is_empty() || rest.starts_with('#') || rest.starts_with("---") {
            return None;
        }
        let indent = column;
        let mut dashes = Vec::new();
        while rest == "-" || rest.starts_with("- ") {
            dashes.push(column);
            let after = rest[1..].trim_start();
            column += rest.len() - after.len();
            rest = after;
        }
        Some(Line { number, indent, dashes, key: key(rest), column })
    }
}

/// The key at the start of a line, without quotes.
fn key(text: &str) -> Option<&str> {
    if let Some(quote @ ('"' | '\'')) = text.chars().next() {
        let end = text[1..].find(quote)? + 1;
        return text[end + 1..].trim_start().starts_with(':').then_some(&text[1..end]);
    }
    let end = text.find(": ").or_else(|| text.strip_suffix(':').map(str::len))?;
    Some(text[..end].trim_end())
}

type Found<'l, 't> = Option<(usize, &'l [Line<'t>])>;

/// A key of the map that the block is, and the lines below it.
fn field<'l, 't>(block: &'l [Line<'t>], name: &str) -> Found<'l, 't> {
    let column = block.iter().find(|l| l.key.is_some())?.column;
    let at = block.iter().position(|l| l.column == column && l.key == Some(name))?;
    let below = &block[at + 1..];
    // A list may stand at the column of its key; then it ends with the next key there.
    let ends = |l: &Line<'_>| {
        let own = l.dashes.first().copied().unwrap_or(l.column).min(l.indent);
        own < column || (own == column && l.dashes.is_empty())
    };
    let end = below.iter().position(ends).unwrap_or(below.len());
    Some((block[at].number, &below[..end]))
}

/// An item of the list that the block is, from its dash on.
fn item<'l, 't>(block: &'l [Line<'t>], index: usize) -> Found<'l, 't> {
    let column = *block.first()?.dashes.first()?;
    let is_item = |l: &Line<'_>| l.dashes.first() == Some(&column);
    let at = block.iter().enumerate().filter(|(_, l)| is_item(l)).nth(index)?.0;
    let end = block[at + 1..].iter().position(is_item).map_or(block.len(), |n| at + 1 + n);
    Some((block[at].number, &block[at..end]))
}

fn parse(path: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut rest = path.trim_start_matches('.');
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let Some(end) = inner.find(']') else { return steps };
            steps.extend(bracket(&inner[..end]));
            rest = inner[end + 1..].trim_start_matches('.');
            continue;
        }
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        steps.push(Step::Field(rest[..end].to_owned()));
        rest = rest[end..].trim_start_matches('.');
    }
    steps
}

fn bracket(text: &str) -> Option<Step> {
    if let Ok(index) = text.parse() {
        return Some(Step::Index(index));
    }
    let pairs: Option<Vec<(String, Value)>> = text
        .split(',')
        .map(|part| {
            let (name, value) = part.split_once('=')?;
            Some((name.to_owned(), serde_json::from_str(value).ok()?))
        })
        .collect();
    Some(match pairs {
        Some(keys) => Step::Keys(keys),
        None => Step::Field(text.trim_matches('"').to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# the shop
apiVersion: v1
kind: Pod
metadata:
  labels:
    "a.b/c": x
spec:
  containers:
  - name: one
    image: i
    ports:
      - containerPort: 80
        name: http
      - containerPort: 81
  - name: two
    env:
    - {name: A}
  tolerations:
    - key: t
"#;

    fn at(path: &str) -> usize {
        let document: Value = serde_yaml_ng::from_str(TEXT).unwrap();
        line(TEXT, &document, path)
    }

    #[test]
    fn fields_and_items_are_found() {
        assert_eq!(at("spec"), 7);
        assert_eq!(at("spec.containers[0].image"), 10);
        assert_eq!(at("spec.containers[0].ports[1].containerPort"), 14);
        assert_eq!(at(".spec.containers[name=\"two\"].env"), 16);
        assert_eq!(at(".spec.containers[name=\"one\"].ports[containerPort=81,protocol=\"TCP\"]"), 14);
        assert_eq!(at("metadata.labels[a.b/c]"), 6);
        assert_eq!(at("spec.tolerations[0].key"), 19);
    }

    #[test]
    fn what_is_missing_is_looked_for_in_its_parent() {
        assert_eq!(at("spec.containers[1].image"), 15);
        assert_eq!(at("spec.containers[1].env[0].value"), 17);
        assert_eq!(at("status.phase"), 2);
    }
}
