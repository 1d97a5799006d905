//! YAML as kubectl writes it: in quotes is what readers of YAML 1.1 take for something else, moments for dates and `on` for true.

use std::borrow::Cow;

use serde_json::Value;

/// The text of a value.
pub(crate) fn text(value: &Value) -> anyhow::Result<String> {
    let plain = serde_yaml_ng::to_string(value)?;
    let mut out = String::with_capacity(plain.len());
    // Indent of the key whose block text is being passed; what is in it stays as it is.
    let mut block: Option<usize> = None;
    for line in plain.lines() {
        let indent = line.len() - line.trim_start().len();
        if block.is_some_and(|b| indent > b || line.trim().is_empty()) {
            out.push_str(line);
            out.push('\n');
            continue;
        }
        let begins = [": |", ": |-", ": |+", ": >", ": >-", ": >+", "- |", "- |-", "- |+"];
        block = begins.iter().any(|b| line.ends_with(b)).then_some(indent);
        let line = with_quoted_key(line);
        match line.rsplit_once(": ").or_else(|| line.rsplit_once("- ")) {
            Some((_, tail)) if is_moment(tail) || is_old_boolean(tail) => {
                out.push_str(&line[..line.len() - tail.len()]);
                out.push_str(&format!("\"{tail}\""));
            }
            _ => out.push_str(&line),
        }
        out.push('\n');
    }
    Ok(out)
}

/// The same line, its key in quotes where YAML 1.1 takes it for true or false.
fn with_quoted_key(line: &str) -> Cow<'_, str> {
    let start = line.len() - line.trim_start_matches([' ', '-']).len();
    let Some(length) = line[start..].find(':') else { return Cow::Borrowed(line) };
    let key = &line[start..start + length];
    match is_old_boolean(key) {
        true => Cow::Owned(format!("{}\"{key}\"{}", &line[..start], &line[start + length..])),
        false => Cow::Borrowed(line),
    }
}

/// Words that YAML 1.1 takes for true or false and YAML 1.2 for text.
fn is_old_boolean(text: &str) -> bool {
    ["y", "n", "yes", "no", "on", "off"].contains(&text.to_ascii_lowercase().as_str())
}

/// `2026-11-20T12:00:00Z`, perhaps with a fraction.
fn is_moment(text: &str) -> bool {
    text.len() >= 20 && text.ends_with('Z') && text.parse::<stdx::Time>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn words_that_older_readers_take_for_booleans_are_quoted() {
        let value = json!({"brake": {"on": true}, "list": ["no", {"y": 1}], "plain": "only"});
        let text = text(&value).unwrap();
        assert_eq!(text, "brake:\n  \"on\": true\nlist:\n- \"no\"\n- \"y\": 1\nplain: only\n");
    }

    #[test]
    fn moments_are_quoted_and_texts_stay() {
        let value = json!({
            "at": "2026-11-20T12:00:00Z", "list": ["2026-11-20T12:00:00.123456Z", "x"],
            "log": "first: 2026-11-20T12:00:00Z\n\n  at: 2026-11-20T12:00:00Z\n", "n": "7",
        });
        let text = text(&value).unwrap();
        assert!(text.contains("at: \"2026-11-20T12:00:00Z\"\n"), "{text}");
        assert!(text.contains("- \"2026-11-20T12:00:00.123456Z\"\n"), "{text}");
        assert_eq!(serde_yaml_ng::from_str::<Value>(&text).unwrap(), value, "{text}");
    }
}
