//! Metadata alone, cut out of the stored bytes.

use std::borrow::Cow;

use serde_json::Value;
use store::Revision;

use crate::registry::Served;
use crate::stored;

/// Annotations that upstream makes up when an object takes the form of its version. Metadata alone is taken from the
/// form without version, so it does not have them.
const OF_THE_VERSION: [(&str, &[&str]); 2] = [
    ("daemonsets.apps", &["deprecated.daemonset.template.generation"]),
    (
        "horizontalpodautoscalers.autoscaling",
        &[
            "autoscaling.alpha.kubernetes.io/behavior",
            "autoscaling.alpha.kubernetes.io/conditions",
            "autoscaling.alpha.kubernetes.io/current-metrics",
            "autoscaling.alpha.kubernetes.io/metrics",
        ],
    ),
];

/// Appends a `PartialObjectMetadata`.
pub(super) fn write(out: &mut Vec<u8>, served: &Served, plain: &[u8], revision: Revision, version: &str) {
    out.extend_from_slice(b"{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/");
    out.extend_from_slice(version.as_bytes());
    out.extend_from_slice(b"\",\"metadata\":{\"resourceVersion\":\"");
    out.extend_from_slice(revision.to_string().as_bytes());
    out.extend_from_slice(b"\",");
    out.extend_from_slice(&own_metadata(served, plain));
    out.push(b'}');
}

/// The metadata without what the version adds to it.
fn own_metadata<'a>(served: &Served, plain: &'a [u8]) -> Cow<'a, [u8]> {
    let metadata = metadata_of(plain);
    let of_version = OF_THE_VERSION.iter().find(|(key, _)| *key == &*served.storage_key);
    let Some((_, names)) = of_version else { return Cow::Borrowed(metadata) };
    let Ok(mut tree) = serde_json::from_slice::<Value>(&[b"{", metadata].concat()) else {
        return Cow::Borrowed(metadata);
    };
    if let Some(annotations) = tree["annotations"].as_object_mut() {
        annotations.retain(|name, _| !names.contains(&name.as_str()));
        if annotations.is_empty() {
            tree.as_object_mut().map(|m| m.remove("annotations"));
        }
    }
    Cow::Owned(tree.to_string().into_bytes().split_off(1))
}

/// The metadata of a stored body behind its opening brace, closing brace included.
pub(crate) fn metadata_of(plain: &[u8]) -> &[u8] {
    let start = stored::head_length(plain);
    let mut depth = 1usize;
    let mut in_text = false;
    let mut at = start;
    while at < plain.len() {
        match plain[at] {
            b'\\' if in_text => at += 1,
            b'"' => in_text = !in_text,
            b'{' if !in_text => depth += 1,
            b'}' if !in_text => {
                depth -= 1;
                if depth == 0 {
                    return &plain[start..=at];
                }
            }
            _ => {}
        }
        at += 1;
    }
    &plain[start..]
}

#[cfg(test)]
mod tests {
    use api_meta::Resource;
    use serde_json::json;

    use super::*;

    #[test]
    fn metadata_is_cut_out_whole() {
        let object = json!({
            "kind": "X", "apiVersion": "v1",
            "metadata": {"name": "a", "annotations": {"q": "}\"{\\"}, "labels": {"b": "c"}},
            "spec": {"x": 1}
        });
        let mut out = Vec::new();
        let served = Served::plain(Resource::namespaced("", "v1", "xs", "X"));
        write(&mut out, &served, &stored::encode(&object), Revision(3), "v1");
        let read: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(read["metadata"]["annotations"]["q"], "}\"{\\");
        assert_eq!(read["metadata"]["resourceVersion"], "3");
        assert!(read.get("spec").is_none());
    }

    #[test]
    fn what_a_version_adds_is_no_metadata() {
        let served = Served::plain(Resource::namespaced("apps", "v1", "daemonsets", "DaemonSet"));
        let mut object = json!({"kind": "DaemonSet", "apiVersion": "apps/v1", "metadata": {"name": "a",
            "annotations": {"deprecated.daemonset.template.generation": "1"}}});
        let shown = |object: &Value| {
            let mut out = Vec::new();
            write(&mut out, &served, &stored::encode(object), Revision(3), "v1");
            serde_json::from_slice::<Value>(&out).unwrap()["metadata"]["annotations"].clone()
        };
        assert_eq!(shown(&object), Value::Null);
        object["metadata"]["annotations"]["own"] = json!("x");
        assert_eq!(shown(&object), json!({"own": "x"}));
    }
}
