//! Label and field selectors: their text form, their object form, and matching.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Looks up a label's value.
pub trait Labels {
    /// The value of `key`, if the label is there.
    fn label(&self, key: &str) -> Option<&str>;
}

impl Labels for BTreeMap<String, String> {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key).map(String::as_str)
    }
}

impl Labels for [(Box<str>, Box<str>)] {
    fn label(&self, key: &str) -> Option<&str> {
        self.iter().find(|(k, _)| &**k == key).map(|(_, v)| &**v)
    }
}

/// One condition on one label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Requirement {
    /// The label is there with one of the values.
    In(String, Vec<String>),
    /// The label is absent or has none of the values.
    NotIn(String, Vec<String>),
    /// The label is there.
    Exists(String),
    /// The label is absent.
    Absent(String),
    /// The label is a whole number greater than this one (node affinity only).
    Greater(String, i64),
    /// The label is a whole number less than this one (node affinity only).
    Less(String, i64),
}

impl Requirement {
    /// Whether `labels` satisfy it.
    pub fn matches<L: Labels + ?Sized>(&self, labels: &L) -> bool {
        let number = |key: &str| labels.label(key).and_then(|v| v.parse::<i64>().ok());
        match self {
            Requirement::In(k, values) => labels.label(k).is_some_and(|v| values.iter().any(|w| w == v)),
            Requirement::NotIn(k, values) => labels.label(k).is_none_or(|v| values.iter().all(|w| w != v)),
            Requirement::Exists(k) => labels.label(k).is_some(),
            Requirement::Absent(k) => labels.label(k).is_none(),
            Requirement::Greater(k, n) => number(k).is_some_and(|v| v > *n),
            Requirement::Less(k, n) => number(k).is_some_and(|v| v < *n),
        }
    }
}

/// A conjunction of requirements; the empty one matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Selector(pub Vec<Requirement>);

/// A selector that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub String);

impl Selector {
    /// Whether `labels` satisfy every requirement.
    pub fn matches<L: Labels + ?Sized>(&self, labels: &L) -> bool {
        self.0.iter().all(|r| r.matches(labels))
    }

    /// Whether it matches everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads the text form: `a=b,c!=d,e in (x,y),f notin (z),g,!h`.
    pub fn parse(text: &str) -> Result<Selector, SelectorError> {
        let mut rest = text.trim();
        let mut out = Vec::new();
        while !rest.is_empty() {
            let end = clause_end(rest);
            out.push(clause(rest[..end].trim(), text)?);
            rest = rest[end..].trim_start_matches(',').trim_start();
        }
        Ok(Selector(out))
    }
}

/// Position of the comma that ends the first clause, or the end of the text.
fn clause_end(text: &str) -> usize {
    let mut depth = 0;
    for (i, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth <= 0 => return i,
            _ => {}
        }
    }
    text.len()
}

fn clause(text: &str, whole: &str) -> Result<Requirement, SelectorError> {
    let bad = || SelectorError(format!("unable to parse requirement: {text:?} in {whole:?}"));
    if let Some(key) = text.strip_prefix('!') {
        return key_of(key, whole).map(Requirement::Absent);
    }
    if let Some(open) = text.find('(') {
        let values = text[open + 1..].strip_suffix(')').ok_or_else(bad)?;
        let mut head = text[..open].split_whitespace();
        let (key, op) = (head.next().ok_or_else(bad)?, head.next().ok_or_else(bad)?);
        let values = values.split(',').map(|v| v.trim().to_owned()).collect();
        return match op {
            "in" => Ok(Requirement::In(key_of(key, whole)?, values)),
            "notin" => Ok(Requirement::NotIn(key_of(key, whole)?, values)),
            _ => Err(bad()),
        };
    }
    for (sign, equal) in [("!=", false), ("==", true), ("=", true)] {
        if let Some((key, value)) = text.split_once(sign) {
            let (key, values) = (key_of(key, whole)?, vec![value.trim().to_owned()]);
            return Ok(if equal { Requirement::In(key, values) } else { Requirement::NotIn(key, values) });
        }
    }
    for (sign, greater) in [(">", true), ("<", false)] {
        if let Some((key, value)) = text.split_once(sign) {
            let (key, n) = (key_of(key, whole)?, value.trim().parse().map_err(|_| bad())?);
            return Ok(if greater { Requirement::Greater(key, n) } else { Requirement::Less(key, n) });
        }
    }
    key_of(text, whole).map(Requirement::Exists)
}

fn key_of(text: &str, whole: &str) -> Result<String, SelectorError> {
    let key = text.trim();
    let ok = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
    if ok {
        Ok(key.to_owned())
    } else {
        Err(SelectorError(format!("invalid label key {key:?} in {whole:?}")))
    }
}

/// The object form of a selector, as in `spec.selector`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelector {
    /// Labels that must be equal.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Further requirements.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<MatchExpression>,
}

/// One requirement in object form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MatchExpression {
    /// Label.
    pub key: String,
    /// `In`, `NotIn`, `Exists`, `DoesNotExist`; in node affinity also `Gt`, `Lt`.
    pub operator: String,
    /// Values of the set operators.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

impl MatchExpression {
    /// The requirement it means.
    pub fn requirement(&self) -> Result<Requirement, SelectorError> {
        let key = self.key.clone();
        let number = || {
            let text = self.values.first().map_or("", String::as_str);
            text.parse().map_err(|_| SelectorError(format!("{text:?} is not an integer")))
        };
        Ok(match self.operator.as_str() {
            "In" => Requirement::In(key, self.values.clone()),
            "NotIn" => Requirement::NotIn(key, self.values.clone()),
            "Exists" => Requirement::Exists(key),
            "DoesNotExist" => Requirement::Absent(key),
            "Gt" => Requirement::Greater(key, number()?),
            "Lt" => Requirement::Less(key, number()?),
            other => return Err(SelectorError(format!("{other:?} is not a valid label selector operator"))),
        })
    }
}

impl LabelSelector {
    /// The matching form; an empty selector matches everything.
    pub fn selector(&self) -> Result<Selector, SelectorError> {
        let equal = self.match_labels.iter().map(|(k, v)| Ok(Requirement::In(k.clone(), vec![v.clone()])));
        let further = self.match_expressions.iter().map(MatchExpression::requirement);
        equal.chain(further).collect::<Result<_, _>>().map(Selector)
    }
}

/// A field selector: `metadata.name=x,spec.nodeName!=y`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector(pub Vec<(String, bool, String)>);

impl FieldSelector {
    /// Reads the text form; each entry is (field, must be equal, value).
    pub fn parse(text: &str) -> Result<FieldSelector, SelectorError> {
        let clauses = text.split(',').map(str::trim).filter(|c| !c.is_empty());
        let parsed = clauses.map(|c| {
            for (sign, equal) in [("!=", false), ("==", true), ("=", true)] {
                if let Some((field, value)) = c.split_once(sign) {
                    return Ok((field.trim().to_owned(), equal, value.trim().to_owned()));
                }
            }
            Err(SelectorError(format!("invalid selector: '{text}'; can't understand '{c}'")))
        });
        parsed.collect::<Result<_, _>>().map(FieldSelector)
    }

    /// Whether every clause holds; `field` gives a field's value, empty when it is unset.
    pub fn matches<'a>(&self, field: impl Fn(&str) -> &'a str) -> bool {
        self.0.iter().all(|(name, equal, value)| (field(name) == value) == *equal)
    }

    /// Whether it matches everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn text_form_matches_as_kubernetes_does() {
        let l = labels(&[("app", "shop"), ("tier", "web")]);
        for yes in [
            "",
            "app=shop",
            "app==shop,tier",
            "app in (a, shop)",
            "x!=y",
            "!x",
            "x notin (a)",
            "tier notin (db)",
        ] {
            assert!(Selector::parse(yes).unwrap().matches(&l), "{yes}");
        }
        for no in ["app=a", "app!=shop", "x", "!app", "x in (a)", "app notin (shop)"] {
            assert!(!Selector::parse(no).unwrap().matches(&l), "{no}");
        }
    }

    #[test]
    fn broken_text_is_refused() {
        for bad in ["a in (b", "=x", "a within (b)", "a b"] {
            assert!(Selector::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn field_selectors_compare_whole_values() {
        let s = FieldSelector::parse("metadata.name=a,spec.nodeName!=n1").unwrap();
        assert!(s.matches(|f| if f == "metadata.name" { "a" } else { "" }));
        assert!(!s.matches(|f| if f == "metadata.name" { "a" } else { "n1" }));
        assert!(FieldSelector::parse("metadata.name").is_err());
    }
}
