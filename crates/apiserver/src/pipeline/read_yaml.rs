//! YAML bodies: one document as a tree, within bounds of depth and of what aliases may stand for.
//!
//! The parser below keeps what was written, and so is bounded by the length of the body; but it takes time in proportion to length times
//! depth of brackets, and aliases can stand for any number of copies.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use serde_yaml_ng::Error;

/// Brackets within brackets. No tree may be deeper than 128; texts may hold some more that do not close.
const BRACKETS_MAX: usize = 1000;
/// What a document may stand for, in values and octets of texts. Without aliases that is less than twice its own length; this much more
/// aliases may make of it.
const ALIAS_MAX: usize = 1 << 20;

/// One YAML document as a tree, with findings about keys that occur twice (of which the last counts, as upstream).
///
/// # Errors
/// When it is no YAML, too deep, or grows too far by its aliases.
pub(crate) fn read(text: &str) -> Result<(Value, Vec<String>), Error> {
    if brackets(text) > BRACKETS_MAX {
        return Err(Error::custom("exceeded max depth of brackets"));
    }
    let budget = Budget { left: Cell::new(2 * text.len() + ALIAS_MAX), is_doubled: Cell::new(false) };
    let tree = Tree(&budget).deserialize(serde_yaml_ng::Deserializer::from_str(text))?;
    let mut findings = Vec::new();
    if budget.is_doubled.get()
        && let Err(strict) = serde_yaml_ng::from_str::<serde_yaml_ng::Value>(text)
    {
        // Only the strict reader knows the line.
        findings.push(duplicate_key(&strict.to_string()));
    }
    Ok((tree, findings))
}

/// How many more brackets a text opens than it closes, at most, wherever they stand.
fn brackets(text: &str) -> usize {
    let mut most = 0_usize;
    let mut open = 0_usize;
    for byte in text.bytes() {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        most = most.max(open);
    }
    most
}

/// `line 5: key "data" already set in map`, from the reader's own words.
fn duplicate_key(finding: &str) -> String {
    let key = finding.split("key \"").nth(1).and_then(|r| r.split('"').next()).unwrap_or_default();
    let line = finding.split("line ").nth(1).and_then(|r| r.split_whitespace().next()).unwrap_or("1");
    format!("line {line}: key \"{key}\" already set in map")
}

struct Budget {
    /// Octets that the tree may still take.
    left: Cell<usize>,
    /// A key came twice.
    is_doubled: Cell<bool>,
}

impl Budget {
    fn pay<E: serde::de::Error>(&self, octets: usize) -> Result<(), E> {
        let left = self.left.get().checked_sub(octets);
        self.left.set(left.ok_or_else(|| E::custom("document contains excessive aliasing"))?);
        Ok(())
    }
}

/// Reads a tree, paid from a budget; of several equal keys the last one counts.
struct Tree<'b>(&'b Budget);

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        self.0.pay(1)?;
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, b: bool) -> Result<Value, E> {
        Ok(b.into())
    }

    fn visit_i64<E>(self, n: i64) -> Result<Value, E> {
        Ok(n.into())
    }

    fn visit_u64<E>(self, n: u64) -> Result<Value, E> {
        Ok(n.into())
    }

    fn visit_f64<E>(self, n: f64) -> Result<Value, E> {
        Ok(n.into())
    }

    fn visit_str<E: serde::de::Error>(self, s: &str) -> Result<Value, E> {
        self.0.pay(s.len())?;
        Ok(s.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut out = Vec::new();
        while let Some(item) = items.next_element_seed(Tree(self.0))? {
            out.push(item);
        }
        Ok(Value::Array(out))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut out = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            self.0.pay(key.len())?;
            let value = entries.next_value_seed(Tree(self.0))?;
            if out.insert(key, value).is_some() {
                self.0.is_doubled.set(true);
            }
        }
        Ok(Value::Object(out))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_of_equal_yaml_keys_counts_and_is_told() {
        let (tree, findings) = read("a: 1\nb: {c: 1}\na: 2\n").unwrap();
        assert_eq!(tree, json!({"a": 2, "b": {"c": 1}}));
        assert_eq!(findings.len(), 1, "{findings:?}");
    }

    #[test]
    fn broken_yaml_is_refused() {
        assert!(read("a: [b\n").is_err());
    }

    #[test]
    fn aliases_stand_for_what_they_name_but_not_for_ever_more() {
        let (tree, findings) = read("a: &a [x, y]\nb: *a\nc: {d: *a}\n").unwrap();
        assert_eq!(tree, json!({"a": ["x", "y"], "b": ["x", "y"], "c": {"d": ["x", "y"]}}));
        assert!(findings.is_empty());
        let wide = format!("a: &a [{}]\nb: [{}]\n", "x,".repeat(20_000), "*a,".repeat(20_000));
        assert!(read(&wide).unwrap_err().to_string().contains("excessive aliasing"));
        let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(50_000), "*a,".repeat(50_000));
        assert!(read(&long).unwrap_err().to_string().contains("excessive aliasing"));
    }

    #[test]
    fn brackets_that_go_on_opening_are_refused_before_they_are_parsed() {
        let deep = "{a: ".repeat(200_000);
        assert!(read(&deep).unwrap_err().to_string().contains("max depth"));
        let text = format!("a: \"{}\"\n", "[".repeat(500));
        assert!(read(&text).is_ok(), "a text may hold some");
    }
}
