//! JSON text -> tree, with every duplicate key named.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};

use crate::path::{Path, Step, below};

/// Text that is not one JSON value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JsonError(pub String);

/// Duplicate keys of one document that are named at most; the rest are dropped in silence.
const DUPLICATES_MAX: usize = 64;

/// Reads one JSON value. Also gives the paths of duplicate keys, of which the last value counts, as `data.k`.
///
/// Nesting is limited (128 levels), size is not: the caller has a limit for that.
pub fn decode_json(bytes: &[u8]) -> Result<(Value, Vec<String>), JsonError> {
    let first = read(bytes);
    match (&first, first.is_err().then(|| repaired(bytes)).flatten()) {
        (Err(_), Some(text)) => read(text.as_bytes()),
        _ => first,
    }
}

fn read(bytes: &[u8]) -> Result<(Value, Vec<String>), JsonError> {
    let mut duplicates = Vec::new();
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let seed = Seed { path: None, duplicates: &mut duplicates };
    let value = seed.deserialize(&mut reader).map_err(|e| error(&e, bytes))?;
    reader.end().map_err(|e| error(&e, bytes))?;
    Ok((value, duplicates))
}

/// The text with U+FFFD for octets that are no UTF-8 and for halves of surrogate pairs, which Go's decoder takes like
/// that; nothing when there are none.
fn repaired(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(text.len());
    let mut rest = &*text;
    let mut changed = matches!(text, std::borrow::Cow::Owned(_));
    while let Some(at) = rest.find('\\') {
        let (head, tail) = rest.split_at(at);
        out.push_str(head);
        let (escape, length) = match (unit(tail), tail.get(6..).and_then(unit)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => (&tail[..12], 12),
            (Some(0xd800..=0xdfff), _) => {
                changed = true;
                ("\\ufffd", 6)
            }
            (Some(_), _) => (&tail[..6], 6),
            (None, _) => {
                let length = 1 + tail[1..].chars().next().map_or(0, char::len_utf8);
                (&tail[..length], length)
            }
        };
        out.push_str(escape);
        rest = &tail[length..];
    }
    out.push_str(rest);
    changed.then_some(out)
}

/// The UTF-16 unit of an escape such as `\ud800` at the front of a text.
fn unit(text: &str) -> Option<u16> {
    u16::from_str_radix(text.strip_prefix("\\u")?.get(..4)?, 16).ok()
}

/// The error in the words of Go's decoder, which people search for.
fn error(e: &serde_json::Error, bytes: &[u8]) -> JsonError {
    use serde_json::error::Category;
    if e.classify() == Category::Eof {
        return JsonError("unexpected end of JSON input".to_owned());
    }
    let text = e.to_string();
    let what = text.split(" at line ").next().unwrap_or_default();
    let line_start = bytes
        .split_inclusive(|b| *b == b'\n')
        .take(e.line().saturating_sub(1))
        .map(<[u8]>::len)
        .sum::<usize>();
    let at = (line_start + e.column()).saturating_sub(1);
    let found = bytes.get(at).map(|b| char::from(*b)).unwrap_or(' ');
    JsonError(match what {
        "expected value" | "expected ident" => {
            format!("invalid character '{found}' looking for beginning of value")
        }
        "trailing characters" => format!("invalid character '{found}' after top-level value"),
        "key must be a string" => {
            format!("invalid character '{found}' looking for beginning of object key string")
        }
        "expected `:`" => format!("invalid character '{found}' after object key"),
        "expected `,` or `}`" => format!("invalid character '{found}' after object key:value pair"),
        "expected `,` or `]`" => format!("invalid character '{found}' after array element"),
        other => other.to_owned(),
    })
}

struct Seed<'a, 'd> {
    path: Option<&'a Path<'a>>,
    duplicates: &'d mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Seed<'_, '_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Value, D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_, '_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, b: bool) -> Result<Value, E> {
        Ok(Value::Bool(b))
    }

    fn visit_i64<E>(self, n: i64) -> Result<Value, E> {
        Ok(n.into())
    }

    fn visit_u64<E>(self, n: u64) -> Result<Value, E> {
        Ok(n.into())
    }

    fn visit_f64<E: serde::de::Error>(self, n: f64) -> Result<Value, E> {
        Number::from_f64(n).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, s: &str) -> Result<Value, E> {
        Ok(Value::String(s.to_owned()))
    }

    fn visit_string<E>(self, s: String) -> Result<Value, E> {
        Ok(Value::String(s))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut out = Vec::new();
        loop {
            let path = below(self.path, Step::Index(out.len()));
            let seed = Seed { path: Some(&path), duplicates: self.duplicates };
            match items.next_element_seed(seed)? {
                Some(item) => out.push(item),
                None => return Ok(Value::Array(out)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut out = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            match out.entry(key) {
                Entry::Vacant(place) => {
                    let path = below(self.path, Step::Field(place.key()));
                    let seed = Seed { path: Some(&path), duplicates: self.duplicates };
                    let value = entries.next_value_seed(seed)?;
                    place.insert(value);
                }
                Entry::Occupied(mut place) => {
                    let path = below(self.path, Step::Field(place.key()));
                    note(self.duplicates, &path);
                    let seed = Seed { path: Some(&path), duplicates: self.duplicates };
                    let value = entries.next_value_seed(seed)?;
                    place.insert(value);
                }
            }
        }
        Ok(Value::Object(out))
    }
}

/// Names a key that occurs twice, once.
fn note(duplicates: &mut Vec<String>, path: &Path<'_>) {
    let name = path.to_string();
    if duplicates.len() < DUPLICATES_MAX && !duplicates.contains(&name) {
        duplicates.push(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicates_are_named_with_their_path_and_the_last_one_counts() {
        let text = br#"{"a":[{"k":1,"k":2}],"b":1,"b":{"c":1,"c":2}}"#;
        let (value, duplicates) = decode_json(text).unwrap();
        assert_eq!(value, serde_json::json!({"a": [{"k": 2}], "b": {"c": 2}}));
        assert_eq!(duplicates, ["a[0].k", "b", "b.c"]);
    }

    #[test]
    fn numbers_read_back_as_they_were_written() {
        for text in ["1848446704374746704374709551616", "0.1e-6", "123456789012345680000000.0", "5e-324"] {
            let (value, _) = decode_json(text.as_bytes()).unwrap();
            let written = value.to_string();
            assert_eq!(decode_json(written.as_bytes()).unwrap().0, value, "{text}");
        }
    }

    #[test]
    fn broken_text_is_refused_in_the_words_of_go() {
        let message = |t: &str| decode_json(t.as_bytes()).unwrap_err().0;
        assert_eq!(message("{\"data\":"), "unexpected end of JSON input");
        assert_eq!(message("x"), "invalid character 'x' looking for beginning of value");
        assert_eq!(message("{}{"), "invalid character '{' after top-level value");
        assert_eq!(message("{\"a\" 1}"), "invalid character '1' after object key");
    }

    #[test]
    fn broken_characters_are_replaced_as_go_does() {
        let value = |t: &[u8]| decode_json(t).unwrap().0;
        assert_eq!(value(br#"{"a":"\ud800x"}"#), serde_json::json!({"a": "\u{fffd}x"}));
        assert_eq!(
            value(br#"["\ud83d\ude00","\udc00\n\\"]"#),
            serde_json::json!(["\u{1f600}", "\u{fffd}\n\\"])
        );
        assert_eq!(value(b"[\"\xff\"]"), serde_json::json!(["\u{fffd}"]));
    }

    #[test]
    fn nesting_has_a_limit() {
        let deep = "[".repeat(100_000);
        assert!(decode_json(deep.as_bytes()).is_err());
    }
}
