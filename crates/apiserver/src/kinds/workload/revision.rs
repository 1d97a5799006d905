//! ControllerRevision.

use serde_json::Value;

use super::super::check::{Findings, Path, list, text};
use super::super::show::{age_of, count};
use crate::registry::{Column, Facts, Generation};

pub(in super::super) static CONTROLLER_REVISION: Facts = Facts {
    generation: Generation::None,
    validate_create: |v, _| {
        let mut found = Findings::default();
        revision(&mut found, v);
        found.causes
    },
    validate_update: |new, old, _| {
        let mut found = Findings::default();
        revision(&mut found, new);
        if new["data"] != old["data"] {
            found.invalid(&Path::Root("data"), new["data"].clone(), "field is immutable");
        }
        found.causes
    },
    columns: &REVISION_COLUMNS,
    row: |v, now| {
        let owner =
            list(&v["metadata"], "ownerReferences").iter().find(|o| o["controller"] == Value::Bool(true));
        let owner = owner.map_or_else(|| "<none>".to_owned(), qualified_owner);
        vec![v["metadata"]["name"].clone(), owner.into(), count(v, "revision"), age_of(v, now).into()]
    },
    ..Facts::PLAIN
};

static REVISION_COLUMNS: [Column; 4] = [
    Column::new("Name", "string", "name", 0),
    Column::new("Controller", "string", "", 0),
    Column::new("Revision", "string", "", 0),
    Column::new("Age", "string", "", 0),
];

/// `statefulset.apps/web`.
fn qualified_owner(owner: &Value) -> String {
    let kind = text(owner, "kind").to_lowercase();
    let group = text(owner, "apiVersion").split_once('/').map(|(g, _)| format!(".{g}")).unwrap_or_default();
    format!("{kind}{group}/{}", text(owner, "name"))
}

fn revision(found: &mut Findings, v: &Value) {
    if v["data"].is_null() {
        found.required(&Path::Root("data"), "data is mandatory");
    }
    found.non_negative(&Path::Root(""), v, "revision");
}
