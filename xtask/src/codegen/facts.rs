//! Reads the data directory: what was served, the documents, the protobuf messages.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context;
use api_tables::Group;
use serde_json::Value;

/// One protobuf field: number, name, type, label.
pub(super) type ProtoField = (u32, String, String, String);

/// Everything the generator reads.
pub(super) struct Facts {
    /// OpenAPI v3 documents as text, by path below `/openapi/v3/`, of what is served by default.
    pub(super) documents: BTreeMap<String, Vec<u8>>,
    /// The same, parsed.
    pub(super) parsed: BTreeMap<String, Value>,
    /// Fields of protobuf messages by full message name.
    pub(super) messages: BTreeMap<String, Vec<ProtoField>>,
    /// Named groups in the order of discovery.
    pub(super) groups: Vec<Group>,
    /// Recorded discovery entries by group, version and resource (`pods`, `pods/status`).
    pub(super) discovered: BTreeMap<(String, String, String), Value>,
}

impl Facts {
    /// Reads `<data>/kubernetes`.
    pub(super) fn read(dir: &Path) -> anyhow::Result<Facts> {
        let recorded = answers(&dir.join("transcripts/discovery.jsonl"))?;
        let mut facts = Facts {
            documents: BTreeMap::new(),
            parsed: BTreeMap::new(),
            messages: messages(&dir.join("protobuf-fields.json"))?,
            groups: groups(recorded.get("/apis").context("no recorded answer to /apis")?),
            discovered: discovered(&recorded),
        };
        let index = recorded.get("/openapi/v3").and_then(Value::as_str).context("no recorded /openapi/v3")?;
        let index: Value = serde_json::from_str(index)?;
        let paths: BTreeSet<_> = index["paths"].as_object().context("no paths")?.keys().cloned().collect();
        for path in paths {
            let file = dir.join("openapi-v3").join(format!("{}_openapi.json", path.replace('/', "__")));
            let text = std::fs::read(&file).with_context(|| format!("read `{}`", file.display()))?;
            let json: Value = serde_json::from_slice(&text)?;
            // Written anew, so that the tables do not depend on the spacing of the source.
            facts.documents.insert(path.clone(), serde_json::to_vec(&json)?);
            facts.parsed.insert(path, json);
        }
        Ok(facts)
    }
}

/// The first recorded answer to a GET of each path.
fn answers(file: &Path) -> anyhow::Result<BTreeMap<String, Value>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("read `{}`", file.display()))?;
    let mut out = BTreeMap::new();
    for line in text.lines() {
        let mut step: Value = serde_json::from_str(line)?;
        if step["request"]["method"] == "GET" {
            let path = step["request"]["path"].as_str().unwrap_or_default().to_owned();
            out.entry(path).or_insert_with(|| step["response"]["body"].take());
        }
    }
    Ok(out)
}

fn groups(apis: &Value) -> Vec<Group> {
    let groups = apis["groups"].as_array().into_iter().flatten();
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let versions =
        |g: &Value| g["versions"].as_array().into_iter().flatten().map(|v| text(&v["version"])).collect();
    groups.map(|g| Group { name: text(&g["name"]), versions: versions(g) }).collect()
}

fn discovered(recorded: &BTreeMap<String, Value>) -> BTreeMap<(String, String, String), Value> {
    let mut out = BTreeMap::new();
    for body in recorded.values() {
        let Some(gv) = body["groupVersion"].as_str().filter(|_| body["kind"] == "APIResourceList") else {
            continue;
        };
        let (group, version) = gv.split_once('/').unwrap_or(("", gv));
        for r in body["resources"].as_array().into_iter().flatten() {
            let name = r["name"].as_str().unwrap_or_default().to_owned();
            out.insert((group.to_owned(), version.to_owned(), name), r.clone());
        }
    }
    out
}

fn messages(file: &Path) -> anyhow::Result<BTreeMap<String, Vec<ProtoField>>> {
    let text = std::fs::read(file).with_context(|| format!("read `{}`", file.display()))?;
    let all: BTreeMap<String, Vec<Value>> = serde_json::from_slice(&text)?;
    let field = |v: &Value| -> anyhow::Result<ProtoField> {
        let text = |i: usize| v[i].as_str().map(str::to_owned).context("a protobuf field without text");
        let tag =
            v[0].as_u64().and_then(|n| u32::try_from(n).ok()).context("a protobuf field without number")?;
        Ok((tag, text(1)?, text(2)?, text(3)?))
    };
    all.into_iter()
        .map(|(name, fields)| Ok((name, fields.iter().map(field).collect::<Result<_, _>>()?)))
        .collect()
}
