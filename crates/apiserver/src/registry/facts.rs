//! Behaviour of a kind that no schema can tell, as a table row of plain functions.

use api_meta::Cause;
use serde_json::Value;
use stdx::Time;

/// What the functions of a row may know beside the objects.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The present moment.
    pub now: Time,
    /// Namespace of the request; empty for cluster-wide objects.
    pub namespace: &'a str,
    /// Subresource that is written; empty for the object itself.
    pub subresource: &'a str,
    /// Name of the caller.
    pub user: &'a str,
}

/// A kind's behaviour. Objects come in the storage version, except for `default`, which sees the version of the request.
#[derive(Clone, Copy)]
pub struct Facts {
    /// Fills in defaults that depend on other fields; runs after the schema's own, on every decoded object.
    pub default: fn(&mut Value),
    /// Sets and clears what the server owns, before a create (status is already gone where it is written apart).
    pub prepare_create: fn(&mut Value, &Context<'_>),
    /// The same before an update of the object or of a subresource: `(new, old)`.
    pub prepare_update: fn(&mut Value, &Value, &Context<'_>),
    /// Findings about a new object.
    pub validate_create: fn(&Value, &Context<'_>) -> Vec<Cause>,
    /// Findings about a change: `(new, old)`.
    pub validate_update: fn(&Value, &Value, &Context<'_>) -> Vec<Cause>,
    /// Sentences to send as `Warning: 299` with a write: `(new, old)`.
    pub warnings: fn(&Value, Option<&Value>) -> Vec<String>,
    /// What counts as a change of the desired state.
    pub generation: Generation,
    /// How its status is written.
    pub status: StatusRule,
    /// What its names look like.
    pub names: Names,
    /// An update must name the version it is based on.
    pub needs_version: bool,
    /// PUT to a name that does not exist creates it.
    pub create_on_update: bool,
    /// Selectable fields beyond name and namespace.
    pub selectable: &'static [&'static str],
    /// Value of a selectable field; empty when unset.
    pub field: fn(&Value, &str) -> String,
    /// Columns of its table.
    pub columns: &'static [Column],
    /// Cells of one object's row.
    pub row: fn(&Value, Time) -> Vec<Cell>,
    /// Conditions of a row, which clients may dim or hide by (`Completed` of pods); none for most kinds.
    pub conditions: fn(&Value) -> Vec<Value>,
}

/// A cell of a table: text, number or truth value.
pub type Cell = Value;

/// A heading of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Heading.
    pub name: std::borrow::Cow<'static, str>,
    /// `string`, `integer`, `number`, `boolean`, `date`.
    pub kind: std::borrow::Cow<'static, str>,
    /// `name` for the name column; else often empty.
    pub format: std::borrow::Cow<'static, str>,
    /// Sentence about it.
    pub description: std::borrow::Cow<'static, str>,
    /// 0 is always shown, 1 only in wide output.
    pub priority: i32,
}

impl Column {
    /// A heading known at compile time.
    pub const fn new(name: &'static str, kind: &'static str, format: &'static str, priority: i32) -> Column {
        use std::borrow::Cow::Borrowed;
        Column {
            name: Borrowed(name),
            kind: Borrowed(kind),
            format: Borrowed(format),
            description: Borrowed(""),
            priority,
        }
    }
}

/// What counts as a change of the desired state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// The kind has no generation.
    None,
    /// A change of `spec`.
    Spec,
    /// A change of anything but metadata and status.
    Whole,
    /// A change of anything but metadata: custom kinds without status subresource.
    WithStatus,
}

/// How a status is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusRule {
    /// There is none, or it is a part like any other.
    Open,
    /// Only through the status subresource, where the kind has one.
    Apart,
}

/// What names of a kind look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// RFC 1123 subdomain: most kinds.
    Subdomain,
    /// RFC 1123 label: namespaces.
    Label,
    /// RFC 1035 label: services.
    Label1035,
    /// Anything that is a path segment: RBAC.
    Segment,
}

/// Which write is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// A new object.
    Create,
    /// A changed one.
    Update,
    /// A removal.
    Delete,
}

static PLAIN: Facts = Facts::PLAIN;

impl Facts {
    /// A kind without peculiarities; a starting point for struct update: `Facts { needs_version: true, ..*Facts::plain() }`.
    pub const fn plain() -> &'static Facts {
        &PLAIN
    }

    /// The plain row by value, for tables of constants.
    pub const PLAIN: Facts = Facts {
        default: |_| {},
        prepare_create: |_, _| {},
        prepare_update: |_, _, _| {},
        validate_create: |_, _| Vec::new(),
        validate_update: |_, _, _| Vec::new(),
        warnings: |_, _| Vec::new(),
        generation: Generation::Spec,
        status: StatusRule::Apart,
        names: Names::Subdomain,
        needs_version: false,
        create_on_update: false,
        selectable: &[],
        field: |_, _| String::new(),
        columns: &[Column::new("Name", "string", "name", 0), Column::new("Age", "string", "", 0)],
        row: |object, now| vec![object["metadata"]["name"].clone(), Value::String(age_of(object, now))],
        conditions: |_| Vec::new(),
    };
}

/// Age cell of an object: `5m`, `<unknown>`.
pub(crate) fn age_of(object: &Value, now: Time) -> String {
    let created = object["metadata"]["creationTimestamp"].as_str().and_then(|t| t.parse().ok());
    created.map_or_else(|| "<unknown>".to_owned(), |t: Time| human_duration(now.since(t)))
}

/// A length of time as kubectl shows it (apimachinery `duration.HumanDuration`).
pub(crate) fn human_duration(length: std::time::Duration) -> String {
    let secs = length.as_secs();
    let (mins, hours, days) = (secs / 60, secs / 3600, secs / 86_400);
    let two = |a: u64, ua: &str, b: u64, ub: &str| {
        if b == 0 { format!("{a}{ua}") } else { format!("{a}{ua}{b}{ub}") }
    };
    match () {
        () if secs < 120 => format!("{secs}s"),
        () if mins < 10 => two(mins, "m", secs % 60, "s"),
        () if mins < 180 => format!("{mins}m"),
        () if hours < 8 => two(hours, "h", mins % 60, "m"),
        () if hours < 48 => format!("{hours}h"),
        () if hours < 192 => two(days, "d", hours % 24, "h"),
        () if days < 365 * 2 => format!("{days}d"),
        () if days < 365 * 8 => two(days / 365, "y", days % 365, "d"),
        () => format!("{}y", days / 365),
    }
}
