//! Metadata alone, cut out of the stored bytes.

use store::Revision;

use crate::stored;

/// Appends a `PartialObjectMetadata`.
pub(super) fn write(out: &mut Vec<u8>, plain: &[u8], revision: Revision, version: &str) {
    out.extend_from_slice(b"{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/");
    out.extend_from_slice(version.as_bytes());
    out.extend_from_slice(b"\",\"metadata\":{\"resourceVersion\":\"");
    out.extend_from_slice(revision.to_string().as_bytes());
    out.extend_from_slice(b"\",");
    out.extend_from_slice(metadata_of(plain));
    out.push(b'}');
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
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn metadata_is_cut_out_whole() {
        let object = json!({
            "kind": "X", "apiVersion": "v1",
            "metadata": {"name": "a", "annotations": {"q": "}\"{\\"}, "labels": {"b": "c"}},
            "spec": {"x": 1}
        });
        let mut out = Vec::new();
        write(&mut out, &stored::encode(&object), Revision(3), "v1");
        let read: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(read["metadata"]["annotations"]["q"], "}\"{\\");
        assert_eq!(read["metadata"]["resourceVersion"], "3");
        assert!(read.get("spec").is_none());
    }
}
