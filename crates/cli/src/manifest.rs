//! Manifests: YAML or JSON files, directories of them, standard input.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::locate;

/// One object of a file, with what is needed to point into the file.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The object.
    pub object: Value,
    /// File it is from, as shown to people.
    pub source: String,
    /// Text of its document.
    text: String,
    /// Lines before its document.
    offset: usize,
}

/// Largest input read.
const BYTES_MAX: u64 = 64 << 20;

impl Manifest {
    fn text_at(&self, pointer: &str) -> &str {
        self.object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// Its `apiVersion`.
    pub fn api_version(&self) -> &str {
        self.text_at("/apiVersion")
    }

    /// Its `kind`.
    pub fn kind(&self) -> &str {
        self.text_at("/kind")
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.text_at("/metadata/name")
    }

    /// Its namespace; empty when it names none.
    pub fn namespace(&self) -> &str {
        self.text_at("/metadata/namespace")
    }

    /// `file:line` of a field.
    pub fn place(&self, field: &str) -> String {
        let line = self.offset + locate::line(&self.text, &self.object, field);
        format!("{}:{line}", self.source)
    }
}

/// Whether a file is taken for a manifest: `*.yaml`, `*.yml`, `*.json`.
pub fn is_manifest(path: &Path) -> bool {
    let known = |e: &str| matches!(e, "yaml" | "yml" | "json");
    path.is_file() && path.extension().and_then(|e| e.to_str()).is_some_and(known)
}

/// The manifests of a file, of the files of a directory in the order of their names, or of standard input (`-`).
pub fn read_manifests(path: &Path) -> anyhow::Result<Vec<Manifest>> {
    if path == Path::new("-") {
        return parse("standard input", &read("standard input", std::io::stdin())?);
    }
    if !path.is_dir() {
        return parse_file(path);
    }
    let show = || format!("read {}", path.display());
    let mut files = Vec::<PathBuf>::new();
    for entry in std::fs::read_dir(path).with_context(show)? {
        files.push(entry.with_context(show)?.path());
    }
    files.retain(|f| is_manifest(f));
    files.sort();
    let mut out = Vec::new();
    for file in files {
        out.extend(parse_file(&file)?);
    }
    Ok(out)
}

fn parse_file(path: &Path) -> anyhow::Result<Vec<Manifest>> {
    let name = path.display().to_string();
    let file = std::fs::File::open(path).with_context(|| format!("read {name}"))?;
    parse(&name, &read(&name, file)?)
}

fn read(name: &str, from: impl Read) -> anyhow::Result<String> {
    let mut text = String::new();
    from.take(BYTES_MAX + 1).read_to_string(&mut text).with_context(|| format!("read {name}"))?;
    if text.len() as u64 > BYTES_MAX {
        bail!("read {name}: it is larger than {} MiB", BYTES_MAX >> 20);
    }
    Ok(text)
}

/// The manifests of a text; lists are taken apart.
pub(crate) fn parse(source: &str, text: &str) -> anyhow::Result<Vec<Manifest>> {
    let mut out = Vec::new();
    for (offset, text) in documents(text) {
        let object = document(source, text, offset)?;
        if object.is_null() {
            continue;
        }
        let manifest = Manifest { object, source: source.to_owned(), text: text.to_owned(), offset };
        match manifest.object.get("items").and_then(Value::as_array) {
            Some(items) if manifest.kind().ends_with("List") => {
                let part = |object: &Value| Manifest { object: object.clone(), ..manifest.clone() };
                out.extend(items.iter().map(part));
            }
            _ => out.push(manifest),
        }
    }
    out.iter().try_for_each(check)?;
    Ok(out)
}

/// The documents of a text with the number of lines before each. A line that begins with `---` always parts documents.
fn documents(text: &str) -> Vec<(usize, &str)> {
    let mut out = Vec::new();
    let (mut start, mut offset, mut at) = (0, 0, 0);
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let body = line.trim_end();
        if body == "---" || body.starts_with("--- ") {
            out.push((offset, &text[start..at]));
            (start, offset) = (at + line.len(), number + 1);
        }
        at += line.len();
    }
    out.push((offset, &text[start..]));
    out
}

fn document(source: &str, text: &str, offset: usize) -> anyhow::Result<Value> {
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text)
            .map_err(|e| anyhow::anyhow!("{source}:{}: {e}", offset + e.line()));
    }
    let wrong = |e: serde_yaml_ng::Error| {
        let place = e.location().map_or(String::new(), |l| format!(":{}", offset + l.line()));
        anyhow::anyhow!("{source}{place}: this is no YAML: {e}")
    };
    let yaml = serde_yaml_ng::Deserializer::from_str(text);
    let mut yaml = serde_yaml_ng::Value::deserialize(yaml).map_err(wrong)?;
    yaml.apply_merge().map_err(wrong)?;
    serde_json::to_value(yaml)
        .with_context(|| format!("{source}:{}: this cannot be written as JSON", offset + 1))
}

fn check(manifest: &Manifest) -> anyhow::Result<()> {
    let at = |field: &str| manifest.place(field);
    if !manifest.object.is_object() {
        bail!("{}: expected an object with apiVersion, kind and metadata", at(""));
    }
    for (field, value) in [("apiVersion", manifest.api_version()), ("kind", manifest.kind())] {
        if value.is_empty() {
            bail!("{}: {field} is not set; every manifest begins with apiVersion and kind", at(field));
        }
    }
    if manifest.name().is_empty() && manifest.text_at("/metadata/generateName").is_empty() {
        bail!("{}: metadata.name is not set", at("metadata.name"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_keep_their_lines() {
        let text = "# head\n---\napiVersion: v1\nkind: A\nmetadata:\n  name: a\n---\napiVersion: v1\nkind: B\nmetadata: {name: b}\nspec:\n  x: 1\n";
        let all = parse("f.yaml", text).unwrap();
        let kinds: Vec<&str> = all.iter().map(Manifest::kind).collect();
        assert_eq!(kinds, ["A", "B"]);
        assert_eq!(all[1].place("spec.x"), "f.yaml:12");
    }

    #[test]
    fn lists_are_taken_apart() {
        let text = r#"{"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "A", "metadata": {"name": "a"}},
            {"apiVersion": "v1", "kind": "B", "metadata": {"generateName": "b-"}}]}"#;
        assert_eq!(parse("f.json", text).unwrap().len(), 2);
    }

    #[test]
    fn mistakes_are_shown_by_line() {
        let wrong = |text: &str| parse("f.yaml", text).unwrap_err().to_string();
        assert_eq!(
            wrong("apiVersion: v1\nmetadata:\n  name: a\n"),
            "f.yaml:1: kind is not set; every manifest begins with apiVersion and kind"
        );
        assert!(wrong("a: 1\n---\nb: [\n").starts_with("f.yaml:"), "{}", wrong("a: 1\n---\nb: [\n"));
        assert!(wrong("apiVersion: v1\nkind: A\n  metadata: x\n").starts_with("f.yaml:3: this is no YAML"));
        assert!(wrong("{\"a\":\n 1,}").starts_with("f.yaml:2: "));
    }

    #[test]
    fn numbers_as_keys_and_merges_become_json() {
        let text = "apiVersion: v1\nkind: A\nmetadata: {name: a}\nx: &x {p: 1}\ny: {<<: *x, 8080: q}\n";
        let all = parse("f.yaml", text).unwrap();
        assert_eq!(all[0].object["y"], serde_json::json!({"p": 1, "8080": "q"}));
    }
}
