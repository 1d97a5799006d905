//! The functions of the language, one table per library: names, signatures, what a call costs, what it does.

pub(crate) mod authorizer;
pub(crate) mod cidr;
pub(crate) mod convert;
pub(crate) mod format;
pub(crate) mod ip;
pub(crate) mod lists;
pub(crate) mod operators;
pub(crate) mod optionals;
pub(crate) mod quantity;
pub(crate) mod regex;
pub(crate) mod semver;
pub(crate) mod sets;
mod signature;
pub(crate) mod strings;
pub(crate) mod template;
pub(crate) mod time;
pub(crate) mod url;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::cost::Price;
use crate::fault::RunError;
use crate::run::Run;
use crate::types::Type;
use crate::value::Value;

pub(crate) use signature::Signature;

/// What a function gives.
pub(crate) type Outcome = Result<Value, RunError>;

/// A function: its forms, its price, and what it does.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) overloads: Vec<Signature>,
    pub(crate) price: Price,
    pub(crate) run: fn(&mut Run<'_>, &[Value]) -> Outcome,
}

/// A row of a library's table.
pub(crate) struct Row {
    name: &'static str,
    is_member: bool,
    signatures: &'static [&'static str],
    price: Price,
    run: fn(&mut Run<'_>, &[Value]) -> Outcome,
}

/// A function called by its name alone.
pub(crate) const fn global(
    name: &'static str,
    signatures: &'static [&'static str],
    price: Price,
    run: fn(&mut Run<'_>, &[Value]) -> Outcome,
) -> Row {
    Row { name, is_member: false, signatures, price, run }
}

/// A function called on its first argument.
pub(crate) const fn member(
    name: &'static str,
    signatures: &'static [&'static str],
    price: Price,
    run: fn(&mut Run<'_>, &[Value]) -> Outcome,
) -> Row {
    Row { name, is_member: true, signatures, price, run }
}

static TABLES: [&[Row]; 16] = [
    operators::TABLE,
    convert::TABLE,
    strings::TABLE,
    template::TABLE,
    time::TABLE,
    optionals::TABLE,
    lists::TABLE,
    sets::TABLE,
    regex::TABLE,
    url::TABLE,
    quantity::TABLE,
    ip::TABLE,
    cidr::TABLE,
    format::TABLE,
    semver::TABLE,
    authorizer::TABLE,
];

/// All functions: those called by their name alone, and those called on a value.
static ENTRIES: LazyLock<[BTreeMap<&'static str, Entry>; 2]> = LazyLock::new(|| {
    let mut out = [BTreeMap::new(), BTreeMap::new()];
    for row in TABLES.into_iter().flatten() {
        let overloads = row.signatures.iter().map(|s| Signature::parse(s));
        let fresh = || Entry { overloads: Vec::new(), price: row.price, run: row.run };
        out[usize::from(row.is_member)].entry(row.name).or_insert_with(fresh).overloads.extend(overloads);
    }
    out
});

/// The function of a name.
pub(crate) fn find(name: &str, is_member: bool) -> Option<&'static Entry> {
    ENTRIES[usize::from(is_member)].get(name)
}

/// Names of types as they may be written in expressions.
const TYPE_NAMES: [&str; 21] = [
    "bool",
    "int",
    "uint",
    "double",
    "string",
    "bytes",
    "list",
    "map",
    "null_type",
    "type",
    "google.protobuf.Duration",
    "google.protobuf.Timestamp",
    "optional_type",
    "kubernetes.Quantity",
    "kubernetes.URL",
    "kubernetes.Semver",
    "kubernetes.NamedFormat",
    "net.IP",
    "net.CIDR",
    "kubernetes.authorization.Authorizer",
    "kubernetes.authorization.Decision",
];

/// The type that a name stands for, as a value.
pub(crate) fn type_value(name: &str) -> Option<Value> {
    TYPE_NAMES.contains(&name).then(|| Value::Type(name.into()))
}

/// A type of a library by its short name in signatures.
fn opaque(name: &str) -> Option<Type> {
    Some(Type::Opaque(match name {
        "Quantity" => "kubernetes.Quantity",
        "URL" => "kubernetes.URL",
        "Semver" => "kubernetes.Semver",
        "Format" => "kubernetes.NamedFormat",
        "IP" => "net.IP",
        "CIDR" => "net.CIDR",
        "Authorizer" => "kubernetes.authorization.Authorizer",
        "PathCheck" => "kubernetes.authorization.PathCheck",
        "GroupCheck" => "kubernetes.authorization.GroupCheck",
        "ResourceCheck" => "kubernetes.authorization.ResourceCheck",
        "Decision" => "kubernetes.authorization.Decision",
        _ => return None,
    }))
}
