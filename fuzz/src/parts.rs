//! What targets take from an input: texts between NULs, kinds by name, trees.

use api_schema::Schema;
use api_tables::{Kind, tables};
use serde_json::Value;

/// The first `N` parts of an input that is split at NUL; missing ones are empty, the last one takes the rest.
pub(crate) fn split<const N: usize>(data: &[u8]) -> [&[u8]; N] {
    let mut parts = data.splitn(N, |b| *b == 0);
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

/// The same as texts; nothing when one is no UTF-8.
pub(crate) fn texts<const N: usize>(data: &[u8]) -> Option<[&str; N]> {
    let mut out = [""; N];
    for (text, part) in out.iter_mut().zip(split::<N>(data)) {
        *text = std::str::from_utf8(part).ok()?;
    }
    Some(out)
}

/// A JSON tree, as the server reads it.
pub(crate) fn tree(bytes: &[u8]) -> Option<Value> {
    api_schema::decode_json(bytes).ok().map(|(value, _)| value)
}

/// The built-in kind called `version/Kind` or `group/version/Kind`; any other name stands for one of them all the same.
pub(crate) fn kind(name: &[u8]) -> (&'static Kind, Schema<'static>) {
    let kinds = &tables().kinds;
    let text = std::str::from_utf8(name).unwrap_or_default();
    let named = text
        .rsplit_once('/')
        .and_then(|(version, name)| kinds.iter().find(|k| k.kind == name && k.api_version() == version));
    let kind = named.unwrap_or_else(|| {
        let sum = name.iter().fold(0_usize, |sum, b| sum.wrapping_mul(31).wrapping_add(usize::from(*b)));
        &kinds[sum % kinds.len()]
    });
    (kind, tables().schema_of(kind.root))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_split_at_nul_and_the_last_takes_the_rest() {
        assert_eq!(split::<2>(b"a\0b\0c"), [b"a".as_slice(), b"b\0c"]);
        assert_eq!(split::<3>(b"a"), [b"a".as_slice(), b"", b""]);
        assert_eq!(texts::<1>(b"\xff"), None);
    }

    #[test]
    fn kinds_are_found_by_name_and_every_name_stands_for_one() {
        assert_eq!(kind(b"v1/Pod").0.kind, "Pod");
        assert_eq!(kind(b"apps/v1/Deployment").0.kind, "Deployment");
        assert_eq!(kind(b"\xff").0.kind, kind(b"\xff").0.kind);
    }
}
