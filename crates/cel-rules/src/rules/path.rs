//! `fieldPath` of a rule: where below the value a finding points to.

use serde_json::Value as Json;

/// The path as findings write it, or what is wrong with it: `.spec['a.b']` is `spec[a.b]`, or `spec.a.b` for fields.
pub(super) fn normal(path: &str, schema: &Json) -> Result<String, String> {
    let mut out = String::new();
    let mut schema = schema;
    let mut rest = path;
    while !rest.is_empty() {
        let name = match (rest.strip_prefix('.'), rest.strip_prefix('[')) {
            (Some(""), _) => return Err("unexpected end of JSON path".to_owned()),
            (Some(after), _) => {
                let end = after.find(['.', '[', ']']).unwrap_or(after.len());
                rest = &after[end..];
                after[..end].to_owned()
            }
            (None, Some(after)) => {
                let (name, after) = quoted(after)?;
                rest = after.strip_prefix(']').ok_or_else(|| match after {
                    "" => "unexpected end of JSON path".to_owned(),
                    other => format!("expected ] but got {other}"),
                })?;
                name
            }
            (None, None) => {
                let end = rest.find(['.', '[', ']']).unwrap_or(rest.len()).max(1);
                return Err(format!("expected [ or . but got: {}", rest.get(..end).unwrap_or(rest)));
            }
        };
        schema = step(&mut out, schema, &name)?;
    }
    Ok(out)
}

fn step<'a>(out: &mut String, schema: &'a Json, name: &str) -> Result<&'a Json, String> {
    let invalid = || "does not refer to a valid field".to_owned();
    if let Some(properties) = schema["properties"].as_object() {
        if !out.is_empty() {
            out.push('.');
        }
        out.push_str(name);
        return properties.get(name).ok_or_else(invalid);
    }
    let values = &schema["additionalProperties"];
    if !values.is_object() {
        return Err(invalid());
    }
    out.push_str(&format!("[{name}]"));
    Ok(values)
}

/// A name in single quotes, and what follows.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let Some(inner) = text.strip_prefix('\'') else {
        let end = text.find(['.', '[', ']']).unwrap_or(text.len());
        return Err(match &text[..end] {
            "" => "unexpected end of JSON path".to_owned(),
            token => format!("expected single quoted string but got {token}"),
        });
    };
    let mut name = String::new();
    let mut chars = inner.char_indices();
    while let Some((i, c)) = chars.next() {
        match c {
            '\'' => return Ok((name, &inner[i + 1..])),
            '\\' => match chars.next().map(|(_, c)| c) {
                Some('n') => name.push('\n'),
                Some('t') => name.push('\t'),
                Some('r') => name.push('\r'),
                Some(c @ ('\'' | '\\')) => name.push(c),
                Some(c) => return Err(format!("invalid string literal: invalid escape char \\{c}")),
                None => break,
            },
            c => name.push(c),
        }
    }
    Err("unexpected end of JSON path".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_follow_the_schema() {
        let schema = json!({"properties": {"a": {"properties": {"b.c": {"type": "string"}}}, "m": {"additionalProperties": {
            "type": "string"
        }}}});
        assert_eq!(normal(".a['b.c']", &schema), Ok("a.b.c".to_owned()));
        assert_eq!(normal(".m.k", &schema), Ok("m[k]".to_owned()));
        assert_eq!(normal(".x", &schema), Err("does not refer to a valid field".to_owned()));
        for bad in ["a", ".", ".a[b]", ".a['b", ".a['b'", "]"] {
            assert!(normal(bad, &schema).is_err(), "{bad}");
        }
    }
}
