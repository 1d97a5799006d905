//! Named formats: `format.dns1123Label().validate(name)`.

use std::sync::LazyLock;

use ::regex::Regex;
use base64::Engine as _;

use super::operators::option;
use super::{Row, global, member};
use crate::cost::Price;
use crate::fault::RunError;
use crate::moment::Moment;
use crate::value::Value;

/// A format and what is wrong with a text that does not have it.
#[derive(Debug)]
pub struct Format {
    pub(crate) name: &'static str,
    faults: fn(&str) -> Vec<String>,
}

static FORMATS: [Format; 14] = [
    Format { name: "dns1123Label", faults: |text| labelled(text, &LABEL, 63) },
    Format { name: "dns1123Subdomain", faults: |text| labelled(text, &SUBDOMAIN, 253) },
    Format { name: "dns1035Label", faults: |text| labelled(text, &LABEL_1035, 63) },
    Format { name: "dns1123LabelPrefix", faults: |text| labelled(&masked(text), &LABEL, 63) },
    Format { name: "dns1123SubdomainPrefix", faults: |text| labelled(&masked(text), &SUBDOMAIN, 253) },
    Format { name: "dns1035LabelPrefix", faults: |text| labelled(&masked(text), &LABEL_1035, 63) },
    Format { name: "qualifiedName", faults: qualified },
    Format { name: "labelValue", faults: label_value },
    Format {
        name: "uri",
        faults: |text| match super::url::Url::parse(text) {
            Ok(_) => Vec::new(),
            Err(why) => vec![why.to_owned()],
        },
    },
    Format { name: "uuid", faults: |text| plain(UUID.is_match(text), "does not match the UUID format") },
    Format {
        name: "byte",
        faults: |text| {
            plain(base64::engine::general_purpose::STANDARD.decode(text).is_ok(), "invalid base64")
        },
    },
    Format { name: "date", faults: |text| plain(Moment::parse_date(text).is_some(), "invalid date") },
    Format { name: "datetime", faults: |text| plain(Moment::parse(text).is_some(), "invalid datetime") },
    Format {
        name: "duration",
        faults: |text| plain(crate::moment::duration(text).is_some(), "invalid duration"),
    },
];

const MADE: &[&str] = &["-> Format"];

macro_rules! named {
    ($($name:literal),*) => {
        &[
            $(global(concat!("format.", $name), MADE, Price::One, |_, _| {
                find($name).map(Value::Format).ok_or_else(RunError::overload)
            }),)*
            global("format.named", &["string -> optional<Format>"], Price::One, |_, args| {
                Ok(option(find(super::strings::one(args)?).map(Value::Format)))
            }),
            member("validate", &["Format, string -> optional<list<string>>"], Price::WalkAll, |_, args| match args {
                [Value::Format(format), Value::Text(text)] => {
                    let found: Vec<Value> = (format.faults)(text).iter().map(|f| Value::text(f)).collect();
                    Ok(option((!found.is_empty()).then(|| Value::list(found))))
                }
                _ => Err(RunError::overload()),
            }),
        ]
    };
}

pub(super) const TABLE: &[Row] = named!(
    "dns1123Label",
    "dns1123Subdomain",
    "dns1035Label",
    "dns1123LabelPrefix",
    "dns1123SubdomainPrefix",
    "dns1035LabelPrefix",
    "qualifiedName",
    "labelValue",
    "uri",
    "uuid",
    "byte",
    "date",
    "datetime"
);

fn find(name: &str) -> Option<&'static Format> {
    FORMATS.iter().find(|f| f.name == name)
}

/// A pattern and the sentence about it.
struct Shape {
    pattern: LazyLock<Regex>,
    sentence: &'static str,
}

fn exact(pattern: &str) -> Regex {
    Regex::new(&format!("^(?:{pattern})$")).expect("a constant pattern")
}

static LABEL: Shape = Shape {
    pattern: LazyLock::new(|| exact("[a-z0-9]([-a-z0-9]*[a-z0-9])?")),
    sentence: "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end \
        with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
        '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
};
static SUBDOMAIN: Shape = Shape {
    pattern: LazyLock::new(|| exact("[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")),
    sentence: "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start \
        and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
        '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
};
static LABEL_1035: Shape = Shape {
    pattern: LazyLock::new(|| exact("[a-z]([-a-z0-9]*[a-z0-9])?")),
    sentence: "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, \
        and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is \
        '[a-z]([-a-z0-9]*[a-z0-9])?')",
};
static NAME: Shape = Shape {
    pattern: LazyLock::new(|| exact("([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")),
    sentence: "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric \
        character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
        '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
};
static VALUE: Shape = Shape {
    pattern: LazyLock::new(|| exact("(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")),
    sentence: "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and \
        end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
        '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
};
static UUID: LazyLock<Regex> =
    LazyLock::new(|| exact("(?i)[0-9A-F]{8}-?[0-9A-F]{4}-?[0-9A-F]{4}-?[0-9A-F]{4}-?[0-9A-F]{12}"));

fn plain(is_well: bool, why: &str) -> Vec<String> {
    if is_well { Vec::new() } else { vec![why.to_owned()] }
}

fn labelled(text: &str, shape: &Shape, max: usize) -> Vec<String> {
    let mut out = Vec::new();
    if text.len() > max {
        out.push(format!("must be no more than {max} characters"));
    }
    if !shape.pattern.is_match(text) {
        out.push(shape.sentence.to_owned());
    }
    out
}

/// A prefix may end with what must not end a name.
fn masked(text: &str) -> String {
    match text.strip_suffix('-') {
        Some(rest) if text.len() > 1 => format!("{rest}a"),
        _ => text.to_owned(),
    }
}

fn label_value(text: &str) -> Vec<String> {
    labelled(text, &VALUE, 63)
}

fn qualified(text: &str) -> Vec<String> {
    let (prefix, name) = match text.split_once('/') {
        Some((_, name)) if name.contains('/') => {
            return vec!["a valid label key must consist of alphanumeric characters, '-', '_' or '.' with an optional DNS \
                 subdomain prefix and '/' (e.g. 'example.com/MyName')".to_owned()];
        }
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    let mut out = match prefix {
        Some("") => vec!["prefix part must be non-empty".to_owned()],
        Some(prefix) => {
            labelled(prefix, &SUBDOMAIN, 253).iter().map(|f| format!("prefix part {f}")).collect()
        }
        None => Vec::new(),
    };
    if name.is_empty() {
        out.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        out.push("name part must be no more than 63 characters".to_owned());
    }
    if !NAME.pattern.is_match(name) {
        out.push(NAME.sentence.to_owned());
    }
    out
}
