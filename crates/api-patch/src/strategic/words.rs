//! Trees in the notation of upstream's messages.

use serde_json::Value;

/// A tree as Go prints it: `map[image:i:2 name:c]`, `[a b]`, `<nil>`. Messages of kube-apiserver quote patches so.
pub fn go_text(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(list) => format!("[{}]", list.iter().map(go_text).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let mut parts: Vec<(&String, String)> = map.iter().map(|(k, v)| (k, go_text(v))).collect();
            parts.sort();
            let parts: Vec<String> = parts.into_iter().map(|(k, v)| format!("{k}:{v}")).collect();
            format!("map[{}]", parts.join(" "))
        }
    }
}
