//! Names and hashes that a repeated plan gives again.

use serde_json::Value;
use stdx::{SeededRng, name_suffix};

/// The name of the `slot`-th new child of an owner as seen in one version. A plan repeated on the same view names the same
/// child, so a doubled creation finds it there; a later view names others, so a name is not used again.
pub(crate) fn pod_name(owner: &str, uid: &str, version: &str, slot: u64) -> String {
    let mut hash = Fnv::new();
    for part in [uid, version] {
        hash.add(part.as_bytes());
        hash.add(b"/");
    }
    hash.add(&slot.to_le_bytes());
    // Names may have 63 letters where they become host names; the prefix gives way.
    let prefix: String = owner.chars().take(57).collect();
    format!("{prefix}-{}", name_suffix(&SeededRng::new(hash.0), 5))
}

/// The value of label `pod-template-hash`: a stable hash of the template, whatever the order of its fields, in the letters
/// that names may have.
pub(crate) fn template_hash(template: &Value, collisions: Option<i32>) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut hash = Fnv::new();
    add_value(&mut hash, template);
    if let Some(collisions) = collisions {
        hash.add(&collisions.to_le_bytes());
    }
    let digits = (hash.0 ^ hash.0 >> 32) as u32;
    let letters = digits.to_string().into_bytes();
    letters.iter().map(|digit| char::from(LETTERS[usize::from(*digit) % LETTERS.len()])).collect()
}

fn add_value(hash: &mut Fnv, value: &Value) {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().filter(|(_, v)| !v.is_null()).collect();
            fields.sort_by_key(|(name, _)| *name);
            hash.add(b"{");
            for (name, value) in fields {
                hash.add(name.as_bytes());
                hash.add(b":");
                add_value(hash, value);
            }
            hash.add(b"}");
        }
        Value::Array(items) => {
            hash.add(b"[");
            items.iter().for_each(|item| add_value(hash, item));
            hash.add(b"]");
        }
        other => {
            hash.add(other.to_string().as_bytes());
            hash.add(b",");
        }
    }
}

/// FNV-1a, 64 bits: small, and the same on every machine.
struct Fnv(u64);

impl Fnv {
    fn new() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_same_view_names_the_same_child() {
        let name = |version, slot| pod_name("cart-5d8", "u-1", version, slot);
        assert_eq!(name("7", 0), name("7", 0));
        assert_ne!(name("7", 0), name("7", 1));
        assert_ne!(name("7", 0), name("8", 0));
        assert!(name("7", 0).starts_with("cart-5d8-"));
        assert_eq!(name("7", 0).len(), "cart-5d8-".len() + 5);
    }

    #[test]
    fn the_hash_follows_meaning_not_spelling() {
        let hash = |v: Value| template_hash(&v, None);
        let a = json!({"spec": {"containers": [{"name": "a", "image": "x:1"}]}, "metadata": {"creationTimestamp": null}});
        let b = json!({"metadata": {}, "spec": {"containers": [{"image": "x:1", "name": "a"}]}});
        assert_eq!(hash(a.clone()), hash(b));
        let c = json!({"metadata": {}, "spec": {"containers": [{"image": "x:2", "name": "a"}]}});
        assert_ne!(hash(a.clone()), hash(c));
        assert_ne!(hash(a.clone()), template_hash(&a, Some(1)));
        assert!(hash(a).bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
    }
}
