//! What clippy does not see: floors, purity, sizes, and documents that name tests which exist.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use serde_json::Value;

/// Crates that no pure crate may reach, by any path.
const EFFECTS: [&str; 12] = [
    "tokio",
    "mio",
    "socket2",
    "hyper",
    "hyper-util",
    "rustls",
    "redb",
    "rustix",
    "nix",
    "tracing-subscriber",
    "kube",
    "rand",
];
/// Code lines (tests apart) above which a file is two rooms in one.
const FILE_LINES_MAX: usize = 1000;

/// Everything; prints each finding and fails when there is one.
pub(crate) fn run() -> anyhow::Result<()> {
    let metadata = metadata()?;
    let house = House::read(&metadata)?;
    let mut findings = Vec::new();
    findings.extend(house.floors());
    findings.extend(house.purity(&metadata));
    findings.extend(house.guests(&metadata));
    findings.extend(sources(&house)?);
    findings.extend(specification(&house)?);
    findings.extend(decisions()?);
    for finding in &findings {
        eprintln!("tidy: {finding}");
    }
    if !findings.is_empty() {
        bail!("{} findings", findings.len());
    }
    println!("tidy: {} crates in order", house.rooms.len());
    Ok(())
}

fn metadata() -> anyhow::Result<Value> {
    let out = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--all-features"])
        .output()
        .context("run cargo metadata")?;
    if !out.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&out.stderr));
    }
    Ok(serde_json::from_slice(&out.stdout)?)
}

struct Room {
    level: u64,
    pure: bool,
    siblings: BTreeSet<String>,
    dir: PathBuf,
    /// Ordinary dependencies, and those of tests.
    deps: Vec<String>,
    dev_deps: Vec<String>,
}

struct House {
    rooms: BTreeMap<String, Room>,
}

impl House {
    fn read(metadata: &Value) -> anyhow::Result<House> {
        let members: BTreeSet<&str> = strings(&metadata["workspace_members"]).collect();
        let mut rooms = BTreeMap::new();
        for package in list(&metadata["packages"]).filter(|p| members.contains(text(&p["id"]))) {
            let name = text(&package["name"]).to_owned();
            let floor = &package["metadata"]["floor"];
            let level = floor["level"]
                .as_u64()
                .with_context(|| format!("{name}: no [package.metadata.floor] level"))?;
            let manifest = Path::new(text(&package["manifest_path"]));
            let of_kind = |dev: bool| {
                let deps = list(&package["dependencies"]).filter(move |d| (text(&d["kind"]) == "dev") == dev);
                deps.map(|d| text(&d["name"]).to_owned()).collect()
            };
            let room = Room {
                level,
                pure: floor["pure"].as_bool().with_context(|| format!("{name}: floor.pure is missing"))?,
                siblings: strings(&floor["siblings"]).map(str::to_owned).collect(),
                dir: manifest.parent().context("manifest without folder")?.to_owned(),
                deps: of_kind(false),
                dev_deps: of_kind(true),
            };
            rooms.insert(name, room);
        }
        Ok(House { rooms })
    }

    /// Edges go down, or to a sibling that the manifest names.
    fn floors(&self) -> Vec<String> {
        let mut out = Vec::new();
        for (name, room) in &self.rooms {
            for dep in &room.deps {
                let Some(below) = self.rooms.get(dep) else { continue };
                // Floors 0 and 1 may know all of their own floor's lower words only when named.
                if below.level > room.level {
                    out.push(format!(
                        "{name} (floor {}) depends upward on {dep} (floor {})",
                        room.level, below.level
                    ));
                }
                if below.level == room.level && !room.siblings.contains(dep) {
                    out.push(format!(
                        "{name} depends on its sibling {dep} without naming it in floor.siblings"
                    ));
                }
            }
            for dep in &room.dev_deps {
                if self.rooms.get(dep).is_some_and(|d| d.level == 4) {
                    out.push(format!("{name}: tests depend on the binary {dep}"));
                }
            }
            for sibling in room.siblings.iter().filter(|s| !room.deps.contains(s)) {
                out.push(format!("{name}: floor.siblings names {sibling}, which is no dependency"));
            }
        }
        out
    }

    /// No pure crate reaches a crate with effects, and each has its own clippy.toml.
    fn purity(&self, metadata: &Value) -> Vec<String> {
        let mut out = Vec::new();
        let graph = Graph::read(metadata);
        for (name, room) in self.rooms.iter().filter(|(_, r)| r.pure) {
            for bad in graph.reach(name).intersection(&EFFECTS.into_iter().collect()) {
                out.push(format!("{name} is pure but reaches {bad}"));
            }
            let clippy = std::fs::read_to_string(room.dir.join("clippy.toml")).unwrap_or_default();
            if !clippy.contains("std::time::SystemTime::now") {
                out.push(format!("{name} is pure but its clippy.toml does not ban clock reads"));
            }
        }
        for (name, room) in self.rooms.iter().filter(|(_, r)| !r.pure) {
            if room.level <= 2 {
                out.push(format!("{name} is on floor {} and not pure", room.level));
            }
        }
        out
    }

    /// Heavy or delicate outside crates stay where they were let in.
    fn guests(&self, metadata: &Value) -> Vec<String> {
        let graph = Graph::read(metadata);
        let mut out = Vec::new();
        for name in self.rooms.keys() {
            let reach = graph.reach(name);
            if reach.contains("k8s-openapi") && !["api-client-kube", "knarr"].contains(&name.as_str()) {
                out.push(format!("{name} reaches k8s-openapi; only api-client-kube may bring it"));
            }
            for bad in ["aws-lc-rs", "aws-lc-sys", "openssl", "openssl-sys", "native-tls"] {
                if reach.contains(bad) {
                    out.push(format!("{name} reaches {bad}"));
                }
            }
        }
        out
    }
}

/// Ordinary (not test, not build) dependencies among all packages, by name.
struct Graph<'a> {
    edges: BTreeMap<&'a str, Vec<&'a str>>,
    names: BTreeMap<&'a str, &'a str>,
    ids: BTreeMap<&'a str, &'a str>,
}

impl<'a> Graph<'a> {
    fn read(metadata: &'a Value) -> Graph<'a> {
        let mut graph = Graph { edges: BTreeMap::new(), names: BTreeMap::new(), ids: BTreeMap::new() };
        for package in list(&metadata["packages"]) {
            graph.names.insert(text(&package["id"]), text(&package["name"]));
            graph.ids.insert(text(&package["name"]), text(&package["id"]));
        }
        for node in list(&metadata["resolve"]["nodes"]) {
            let deps = list(&node["deps"]).filter(|d| list(&d["dep_kinds"]).any(|k| k["kind"].is_null()));
            graph.edges.insert(text(&node["id"]), deps.map(|d| text(&d["pkg"])).collect());
        }
        graph
    }

    fn reach(&self, name: &str) -> BTreeSet<&'a str> {
        let mut seen = BTreeSet::new();
        let mut open: Vec<&str> = self.ids.get(name).copied().into_iter().collect();
        while let Some(id) = open.pop() {
            for next in self.edges.get(id).into_iter().flatten() {
                if seen.insert(*next) {
                    open.push(next);
                }
            }
        }
        seen.into_iter().filter_map(|id| self.names.get(id).copied()).collect()
    }
}

/// Sizes, leftovers and banned words in the sources.
fn sources(house: &House) -> anyhow::Result<Vec<String>> {
    let mut out = Vec::new();
    for room in house.rooms.values() {
        for file in rust_files(&room.dir.join("src"))? {
            let body = std::fs::read_to_string(&file)?;
            let code = body.split("\n#[cfg(test)]").next().unwrap_or_default();
            let lines = code.lines().count();
            let is_test = file.components().any(|c| c.as_os_str() == "tests" || c.as_os_str() == "tests.rs");
            if lines > FILE_LINES_MAX && !is_test && !file.components().any(|c| c.as_os_str() == "generated")
            {
                out.push(format!("{}: {lines} lines are two rooms in one", file.display()));
            }
            let leftovers = [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("#[", "ignore")];
            for word in leftovers.iter().filter(|w| body.contains(**w)) {
                out.push(format!("{}: {word} left behind", file.display()));
            }
            if !body.trim_start().starts_with("//!") && !body.trim_start().starts_with("#![") && !is_test {
                out.push(format!("{}: does not begin with its purpose (//!)", file.display()));
            }
        }
    }
    Ok(out)
}

fn rust_files(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut out = Vec::new();
    let Ok(entries) = std::fs::read_dir(dir) else { return Ok(out) };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            out.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
    out.sort();
    Ok(out)
}

/// Every `crate::…::test_name` in SPECIFICATION.md's last table column exists as a function of that crate.
fn specification(house: &House) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string("SPECIFICATION.md").context("read SPECIFICATION.md")?;
    let mut bodies: BTreeMap<&str, String> = BTreeMap::new();
    let mut out = Vec::new();
    for word in text.split('`').skip(1).step_by(2).filter(|w| w.contains("::") && !w.contains(' ')) {
        let (room, test) =
            (word.split("::").next().unwrap_or_default(), word.rsplit("::").next().unwrap_or_default());
        let Some((name, found)) = house.rooms.get_key_value(room) else { continue };
        if !bodies.contains_key(name.as_str()) {
            let mut all = String::new();
            for file in [rust_files(&found.dir.join("src"))?, rust_files(&found.dir.join("tests"))?].concat()
            {
                all.push_str(&std::fs::read_to_string(file)?);
            }
            bodies.insert(name, all);
        }
        if !bodies.get(name.as_str()).is_some_and(|b| b.contains(&format!("fn {test}"))) {
            out.push(format!("SPECIFICATION.md names `{word}`, which does not exist"));
        }
    }
    Ok(out)
}

/// Decision records are named by date and say what they cost.
fn decisions() -> anyhow::Result<Vec<String>> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir("docs/adr").context("read docs/adr")? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let dated = name.len() > 11 && name[..10].chars().all(|c| c.is_ascii_digit() || c == '-');
        if !dated {
            out.push(format!("docs/adr/{name}: name is not YYYY-MM-DD-slug.md"));
        }
        let body = std::fs::read_to_string(&path)?.to_lowercase();
        for part in
            ["## context", "## choice", "## alternatives", "## price"].iter().filter(|p| !body.contains(**p))
        {
            out.push(format!("docs/adr/{name}: no section {part:?}"));
        }
    }
    Ok(out)
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn strings(value: &Value) -> impl Iterator<Item = &str> {
    list(value).filter_map(Value::as_str)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
