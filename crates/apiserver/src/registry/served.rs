//! One resource in one version, as it is served.

use std::collections::BTreeMap;
use std::sync::Arc;

use api_meta::Resource;
use api_schema::{Schema, TypeId, Types, Validator};
use serde_json::Value;
use stdx::BoxFuture;

use super::{Column, Facts, Life};

/// One resource in one version.
#[derive(Clone)]
pub struct Served {
    /// Group, version, plural, kind, scope.
    pub resource: Resource,
    /// Singular name.
    pub singular: String,
    /// Kind of its lists.
    pub list_kind: String,
    /// Short names (`po`).
    pub short_names: Vec<String>,
    /// Categories (`all`).
    pub categories: Vec<String>,
    /// Verbs of the resource itself, sorted.
    pub verbs: Vec<&'static str>,
    /// Subresources by name.
    pub subresources: BTreeMap<String, Subresource>,
    /// Where its objects live: `pods`, `deployments.apps`.
    pub storage_key: Arc<str>,
    /// `apiVersion` its objects are stored in: of another version, rarely of another group (events).
    pub storage_api_version: String,
    /// Shape of its objects in this version; absent for schemaless ones.
    pub schema: Option<(Arc<Types>, TypeId)>,
    /// Shape in which objects of a custom kind are stored, when it is not the one above or they may be older than their
    /// definition: then they pass through it on their way in and out.
    pub stored_schema: Option<(Arc<Types>, TypeId)>,
    /// Constraints on values of custom kinds, in this version.
    pub validator: Option<Arc<Validator>>,
    /// Rules over values of custom kinds (`x-kubernetes-validations`), in this version.
    pub rules: Option<Arc<cel_rules::rules::Rules>>,
    /// Schema of a custom kind as its definition states it, prose included, for the OpenAPI documents.
    pub openapi: Option<Arc<Value>>,
    /// Where the definition comes from.
    pub origin: Origin,
    /// Behaviour that no schema can tell.
    pub facts: &'static Facts,
    /// How objects of this group change version.
    pub conversion: Conversion,
    /// How a table of them looks.
    pub table: Table,
    /// Selectable fields beyond name and namespace, with their paths, of custom kinds; built-ins list theirs in `facts`.
    pub selectable: Vec<String>,
    /// Where replicas live, for the scale subresource.
    pub scale: Option<Scale>,
    /// Sent as a warning with every answer (deprecated versions).
    pub warning: Option<String>,
    /// Ends with this way of serving it.
    pub life: Life,
    /// First bytes of every object of it: `{"kind":…,"apiVersion":…,"metadata":{`.
    pub prefix: Arc<[u8]>,
}

/// A subresource as discovery shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subresource {
    /// Group of the objects it speaks, when it is not the parent's.
    pub group: String,
    /// Version of the objects it speaks; empty when it is the parent's.
    pub version: String,
    /// Kind of the objects it speaks.
    pub kind: String,
    /// Verbs, sorted.
    pub verbs: Vec<&'static str>,
}

/// Where a definition comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Compiled in.
    Builtin,
    /// A CustomResourceDefinition.
    Custom {
        /// Name of the definition.
        definition: String,
        /// Its identity.
        uid: String,
        /// The definition is being deleted: nothing may be created any more.
        is_terminating: bool,
    },
}

/// Changes an object in place to the given `apiVersion`, which is not the one it has.
pub type ConvertFn = fn(&mut Value, api_version: &str) -> Result<(), String>;

/// Converts objects outside of this process.
pub trait Convert: Send + Sync {
    /// The same objects in `api_version`, in the same order.
    fn convert(&self, objects: Vec<Value>, api_version: String) -> BoxFuture<Result<Vec<Value>, String>>;
}

/// How objects of a resource change version.
#[derive(Clone)]
pub enum Conversion {
    /// Only `apiVersion` changes.
    Rename,
    /// By a function of this process.
    InProcess(ConvertFn),
    /// By somebody else.
    Outside(Arc<dyn Convert>),
}

/// How a table of objects looks.
#[derive(Clone, Debug)]
pub enum Table {
    /// As the kind's facts say.
    Facts,
    /// Columns of a custom kind; name and age alone when empty.
    Columns(Arc<[CustomColumn]>),
}

/// A printer column of a custom kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomColumn {
    /// Heading.
    pub column: Column,
    /// JSONPath of its value, such as `.spec.replicas`.
    pub path: String,
}

/// Where replicas live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scale {
    /// Path of the desired count: `.spec.replicas`.
    pub spec_replicas: String,
    /// Path of the observed count: `.status.replicas`.
    pub status_replicas: String,
    /// Path of a selector in text form; built-ins derive theirs from `.spec.selector`.
    pub selector: Option<String>,
}

impl Served {
    /// A resource with nothing but its name: no schema, no subresources, all verbs.
    pub fn plain(resource: Resource) -> Served {
        let storage_key = resource.to_string();
        let list_kind = format!("{}List", resource.kind);
        let prefix = prefix(&resource.api_version(), &resource.kind);
        Served {
            singular: resource.kind.to_lowercase(),
            list_kind,
            short_names: Vec::new(),
            categories: Vec::new(),
            verbs: Served::ALL_VERBS.to_vec(),
            subresources: BTreeMap::new(),
            storage_key: storage_key.into(),
            storage_api_version: resource.api_version(),
            schema: None,
            stored_schema: None,
            validator: None,
            rules: None,
            openapi: None,
            origin: Origin::Builtin,
            facts: Facts::plain(),
            conversion: Conversion::Rename,
            table: Table::Facts,
            selectable: Vec::new(),
            scale: None,
            warning: None,
            life: Life::new(),
            prefix,
            resource,
        }
    }

    /// The verbs of an ordinary resource.
    pub const ALL_VERBS: [&'static str; 8] =
        ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

    /// Its schema in borrowed form.
    pub fn schema(&self) -> Option<Schema<'_>> {
        self.schema.as_ref().map(|(types, root)| Schema { types, root: *root })
    }

    /// The version its objects are stored in, without the group.
    pub fn storage_version(&self) -> &str {
        self.storage_api_version.rsplit('/').next().unwrap_or_default()
    }

    /// Whether it offers a verb.
    pub fn has_verb(&self, verb: &str) -> bool {
        self.verbs.contains(&verb)
    }

    /// Whether it has a status that is written apart.
    pub fn has_status(&self) -> bool {
        self.subresources.contains_key("status")
    }

    /// Whether it is defined by a CustomResourceDefinition.
    pub fn is_custom(&self) -> bool {
        matches!(self.origin, Origin::Custom { .. })
    }
}

/// First bytes of every object of a kind.
fn prefix(api_version: &str, kind: &str) -> Arc<[u8]> {
    format!("{{\"kind\":\"{kind}\",\"apiVersion\":\"{api_version}\",\"metadata\":{{").into_bytes().into()
}
