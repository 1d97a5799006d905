//! Index rows: what lists and watches select by, held beside the bytes so that no body is decoded to be skipped.
//!
//! There is one for every version of every object, so each is a few pointers: an identity in 16 bytes, and texts of which those that
//! many objects have in common (all labels of the pods of a set, the names of a kind's fields) are held once ([`Texts`]).

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// What an object is selected by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Identity over time.
    pub uid: Uid,
    labels: Pairs,
    /// Names of the fields, and their values in the same order.
    names: Texts,
    values: Texts,
}

impl Row {
    /// A row: labels in key order, and selectable fields beyond name and namespace, such as `spec.nodeName`, of which unset ones are
    /// left out.
    pub fn new<'a>(
        uid: &str,
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
        fields: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Row {
        let (names, values): (Vec<&str>, Vec<&str>) = fields.into_iter().unzip();
        Row {
            uid: Uid::of(uid),
            labels: Pairs::of(labels),
            names: Texts::of(names),
            values: Texts::of(values),
        }
    }

    /// Labels in key order.
    pub fn labels(&self) -> &Pairs {
        &self.labels
    }

    /// A selectable field; nothing when it is unset.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.names.iter().zip(self.values.iter()).find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// Bytes that this row does not have in common with others.
    pub(crate) fn weight(&self) -> usize {
        self.values.0.as_ref().map_or(0, |text| text.len())
    }

    /// Holds in common with `before` what is equal, and else with the rows of other objects.
    pub(crate) fn share(&mut self, before: Option<&Row>, common: &mut Common) {
        self.labels.0.share(before.map(|b| &b.labels.0), common);
        self.names.share(before.map(|b| &b.names), common);
        // Values are an object's own: they are looked for in the version before alone.
        if let Some(before) = before.filter(|b| b.values == self.values) {
            self.values = before.values.clone();
        }
    }
}

/// Identity of an object: a UUID in its usual form in 16 bytes, anything else as text.
#[derive(Clone, PartialEq, Eq)]
pub struct Uid(Form);

#[derive(Clone, PartialEq, Eq)]
enum Form {
    Uuid([u8; 16]),
    Text(Box<str>),
}

/// Where the hyphens of a UUID are.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];

impl Uid {
    /// From its text.
    pub fn of(text: &str) -> Uid {
        Uid(uuid(text).map_or_else(|| Form::Text(text.into()), Form::Uuid))
    }
}

/// The octets of a UUID in lower case with hyphens; nothing for other texts, which would not be written back as they were.
fn uuid(text: &str) -> Option<[u8; 16]> {
    let bytes = text.as_bytes();
    if bytes.len() != 36 || HYPHENS.iter().any(|at| bytes[*at] != b'-') {
        return None;
    }
    let mut digits = bytes.iter().enumerate().filter(|(at, _)| !HYPHENS.contains(at)).map(|(_, b)| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    });
    let mut out = [0; 16];
    for octet in &mut out {
        *octet = digits.next()?? << 4 | digits.next()??;
    }
    Some(out)
}

impl Default for Uid {
    fn default() -> Uid {
        Uid::of("")
    }
}

impl PartialEq<str> for Uid {
    fn eq(&self, text: &str) -> bool {
        *self == Uid::of(text)
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Text(text) => f.write_str(text),
            Form::Uuid(octets) => octets.iter().enumerate().try_for_each(|(i, octet)| {
                let hyphen = if matches!(i, 4 | 6 | 8 | 10) { "-" } else { "" };
                write!(f, "{hyphen}{octet:02x}")
            }),
        }
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

/// Keys with values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairs(Texts);

impl Pairs {
    fn of<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Pairs {
        Pairs(Texts::of(pairs.into_iter().flat_map(|(key, value)| [key, value])))
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut texts = self.0.iter();
        std::iter::from_fn(move || Some((texts.next()?, texts.next()?)))
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(k, _)| *k == key).map(|(_, value)| value)
    }
}

impl api_meta::Labels for Pairs {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key)
    }
}

/// A few texts in one allocation: `3:abc0:2:de`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Texts(Option<Arc<str>>);

impl Texts {
    fn of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Texts {
        let mut out = String::new();
        for text in texts {
            out.push_str(&text.len().to_string());
            out.push(':');
            out.push_str(text);
        }
        Texts((!out.is_empty()).then(|| out.into()))
    }

    fn iter(&self) -> impl Iterator<Item = &str> {
        let mut rest = self.0.as_deref().unwrap_or_default();
        std::iter::from_fn(move || {
            let (length, tail) = rest.split_once(':')?;
            let (text, tail) = tail.split_at(length.parse().ok()?);
            rest = tail;
            Some(text)
        })
    }

    fn share(&mut self, before: Option<&Texts>, common: &mut Common) {
        match before.filter(|before| *before == self) {
            Some(before) => *self = before.clone(),
            None => self.0 = self.0.take().map(|text| common.hold(text)),
        }
    }
}

/// Texts that several rows hold.
#[derive(Debug, Default)]
pub(crate) struct Common {
    texts: BTreeSet<Arc<str>>,
    /// How many there may be before those that nobody holds any more are looked for.
    sweep_at: usize,
}

/// Fewer texts than this are never swept.
const SWEEP_MIN: usize = 1024;

impl Common {
    /// The text as others hold it.
    fn hold(&mut self, text: Arc<str>) -> Arc<str> {
        if let Some(held) = self.texts.get(&text) {
            return held.clone();
        }
        if self.texts.len() >= self.sweep_at.max(SWEEP_MIN) {
            self.texts.retain(|text| Arc::strong_count(text) > 1);
            self.sweep_at = 2 * self.texts.len();
        }
        self.texts.insert(text.clone());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_what_it_was_made_of() {
        let row = Row::new(
            "u",
            [("a", "1"), ("b:c", ""), ("é", "12:x")],
            [("spec.nodeName", "n"), ("status.phase", "Running")],
        );
        assert_eq!(row.labels().iter().collect::<Vec<_>>(), [("a", "1"), ("b:c", ""), ("é", "12:x")]);
        assert_eq!((row.labels().get("é"), row.labels().get("c")), (Some("12:x"), None));
        assert_eq!(
            (row.field("status.phase"), row.field("spec.nodeName"), row.field("x")),
            (Some("Running"), Some("n"), None)
        );
        assert_eq!(Row::default(), Row::new("", [], []));
    }

    #[test]
    fn an_identity_reads_back_as_it_was_given() {
        for text in [
            "",
            "uid-1",
            "6e13617d-cd35-4aaf-afbe-9bb2c030ab84",
            "6E13617D-cd35-4aaf-afbe-9bb2c030ab84",
            "6e13617dxcd35-4aaf-afbe-9bb2c030ab84",
            "6e13617d-cd35-4aaf-afbe-9bb2c030ab8é",
        ] {
            assert_eq!(Uid::of(text).to_string(), text);
            assert!(Uid::of(text) == *text);
        }
        assert!(Uid::of("6e13617d-cd35-4aaf-afbe-9bb2c030ab84") != *"6e13617d-cd35-4aaf-afbe-9bb2c030ab85");
    }

    #[test]
    fn rows_share_equal_texts_and_let_go_of_forgotten_ones() {
        let mut common = Common::default();
        let mut row = |labels: &str, before: Option<&Row>| {
            let mut row = Row::new("u", [("l", labels)], [("f", "v")]);
            row.share(before, &mut common);
            row
        };
        let same = |a: &Texts, b: &Texts| Arc::ptr_eq(a.0.as_ref().unwrap(), b.0.as_ref().unwrap());
        let first = row("x", None);
        let other = row("x", None);
        assert!(same(&first.labels.0, &other.labels.0) && same(&first.names, &other.names));
        assert!(!same(&first.values, &other.values), "values are an object's own");
        assert!(same(&row("x", Some(&first)).values, &first.values), "but for its next version");
        drop(first);
        for n in 0..10 * SWEEP_MIN {
            row(&n.to_string(), None);
        }
        assert!(common.texts.len() <= 2 * SWEEP_MIN, "{}", common.texts.len());
        assert!(common.texts.iter().any(|t| **t == *"1:l1:x"), "held by one row still");
        drop(other);
    }
}
