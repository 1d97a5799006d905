//! Protobuf: the envelope, and the message of every built-in kind.

use api_schema::{Schema, Unknown, check_fields, complete, proto};
use api_tables::Kind;
use serde_json::Value;

use super::Target;
use crate::parts::{kind, split};
use crate::sample;

pub(super) fn targets() -> Vec<Target> {
    vec![
        Target {
            name: "proto",
            run: message,
            seeds: || {
                sample::of_hot_kinds(|_, schema, value| proto::encode(schema, value).unwrap_or_default())
            },
            words: sample::NAMES,
        },
        Target {
            name: "envelope",
            run: envelope,
            seeds: || vec![proto::seal("v1", "Pod", b"\n\x03\n\x01a"), proto::MAGIC.to_vec()],
            words: &["k8s\0", "v1", "Pod", "\n", "\u{12}", "\u{1a}", "\""],
        },
    ]
}

/// What was decoded can be encoded, and then is the same for good.
fn message(data: &[u8]) {
    let [name, body] = split(data);
    let (kind, schema) = kind(name);
    let Ok(mut once) = proto::decode(schema, body) else { return };
    if check_fields(schema, &mut once, Unknown::Name).is_err() {
        return;
    }
    let Ok(bytes) = proto::encode(schema, &once) else { return };
    let mut twice = proto::decode(schema, &bytes).expect("it was just written");
    check_fields(schema, &mut twice, Unknown::Name).expect("it was good before");
    same_message(kind, schema, &once, &twice);
}

/// Two decoded objects are the same, apart from what neither form can tell: `apiVersion` and `kind`, which are in the envelope.
pub(super) fn same_message(kind: &Kind, schema: Schema<'_>, a: &Value, b: &Value) {
    let shown = |v: &Value| {
        let mut v = v.clone();
        complete(schema, &mut v);
        if let Some(map) = v.as_object_mut() {
            map.remove("apiVersion");
            map.remove("kind");
        }
        v
    };
    assert_eq!(shown(a), shown(b), "{}", kind.kind);
}

fn envelope(data: &[u8]) {
    if let Ok(envelope) = proto::open(data) {
        let sealed = proto::seal(&envelope.api_version, &envelope.kind, envelope.raw);
        let again = proto::open(&sealed).expect("it was just sealed");
        assert_eq!(
            (again.api_version, again.kind, again.raw),
            (envelope.api_version, envelope.kind, envelope.raw)
        );
    }
}
