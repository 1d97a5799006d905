//! `plan`: what applying manifests would do to what runs, before anything moves.
//!
//! The server says what the objects would be (a dry run of apply); the controllers say what they would make of them, on a
//! copy of the live state. Nothing is ever written.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use api_meta::Resource;
use serde_json::Value;
use view::Forecast;

use super::apply::{self, Kinds, MANAGER, Way};
use super::why::BUDGETS;
use crate::foresee::{self, Minds, Root};
use crate::output;
use crate::scene::{self, NODES, PODS, SERVICES, Scene, key_of};
use crate::session::{Scope, Session};
use crate::thinkers::is_workload;
use crate::{Change, Connect, Manifest};

/// Flags of `plan`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Manifests
    #[arg(short, long, value_name = "FILE|DIR|-", required = true)]
    filename: Vec<PathBuf>,
    #[command(flatten)]
    scope: Scope,
    /// Name under which the fields would be owned
    #[arg(long, value_name = "NAME", default_value = MANAGER)]
    field_manager: String,
    /// Take fields over that others own
    #[arg(long)]
    force_conflicts: bool,
    /// Print the plan as: json, yaml
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<String>,
    #[command(flatten)]
    pub(super) connect: Connect,
}

/// An object as it would be.
struct Wanted {
    resource: Resource,
    object: Value,
    before: Option<Value>,
    change: Change,
}

pub(super) async fn run(session: &mut Session, args: &Args) -> anyhow::Result<ExitCode> {
    let format = output::data_format(args.output.as_deref())?;
    if session.thinkers.rows.is_empty() {
        bail!(
            "this program brings no controllers, so that nothing can be foreseen: use one that does, or `apply --dry-run`"
        );
    }
    let mut manifests = Vec::new();
    for path in &args.filename {
        manifests.extend(crate::read_manifests(path)?);
    }
    if manifests.is_empty() {
        bail!("no objects passed to plan");
    }
    let wanted = wanted(session, args, &manifests).await?;
    let forecasts = foresee(session, wanted).await?;
    let text = match format.is_table() {
        true => page(&forecasts),
        false => output::data(&format, &forecasts)?,
    };
    session.io.say(&text);
    Ok(ExitCode::SUCCESS)
}

/// Footnote of every plan: what it cannot know.
const ASSUMED: &str = "Assumed: new containers start and become ready, traffic drains, confirmations are given, nodes have room.\n\
                       Nothing was changed; `knarr apply` with the same files does it.\n";

fn page(forecasts: &[Forecast]) -> String {
    let pages: Vec<String> = forecasts.iter().map(Forecast::text).collect();
    format!("{}\n{ASSUMED}", pages.join("\n"))
}

/// Asks the server what each object would be.
async fn wanted(session: &mut Session, args: &Args, manifests: &[Manifest]) -> anyhow::Result<Vec<Wanted>> {
    let namespace = session.namespace(&args.scope);
    let way = Way {
        manager: &args.field_manager,
        force: args.force_conflicts,
        dry_run: true,
        namespace: &namespace,
        strict_namespace: args.scope.namespace.is_some(),
    };
    let mut kinds = Kinds::new(session.client.clone(), session.env.clone());
    let mut out = Vec::new();
    for manifest in manifests {
        let resource = kinds.resource(manifest, false).await?;
        let place = if manifest.namespace().is_empty() { &namespace } else { manifest.namespace() };
        let before = match session.client.get::<Value>(&resource, place, manifest.name()).await {
            Ok(object) => Some(object),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error.into()),
        };
        let applied = apply::apply(&mut kinds, manifest, &way).await?;
        applied.warnings.iter().for_each(|w| session.io.tell(&format!("Warning: {w}")));
        let change = match &before {
            None => Change::Created,
            Some(before) if fields(before, &applied.object).is_empty() => Change::Unchanged,
            Some(_) => Change::Configured,
        };
        out.push(Wanted { resource, object: applied.object, before, change });
    }
    Ok(out)
}

/// Puts the objects into a copy of the live state and lets it run.
async fn foresee(session: &Session, wanted: Vec<Wanted>) -> anyhow::Result<Vec<Forecast>> {
    let mut scene = Scene::new(session.env.now());
    let mut kinds: Vec<Resource> = wanted
        .iter()
        .map(|w| w.resource.clone())
        .filter(|r| is_workload(r) || scene::is_same(r, &PODS))
        .collect();
    if !kinds.is_empty() {
        kinds.extend(BUDGETS);
    }
    let rows = session.thinkers.about(&kinds);
    session.thinkers.mirror(&mut scene, &rows);
    let mut namespaces: Vec<String> = wanted.iter().map(|w| key_of(&w.object).namespace).collect();
    namespaces.retain(|n| !n.is_empty());
    namespaces.sort();
    namespaces.dedup();
    let namespaces = session.thinkers.places(&session.client, namespaces).await?;
    let mut others = vec![PODS, NODES, SERVICES];
    others.extend(BUDGETS);
    scene::read(&mut scene, &session.client, &namespaces, &others).await?;
    let mut roots = Vec::new();
    let mut heads = Vec::new();
    for one in wanted {
        let key = key_of(&one.object);
        heads.push((one.change, one.before.map_or_else(Vec::new, |before| fields(&before, &one.object))));
        if scene.put(&one.resource, one.object).is_err() {
            bail!(
                "read {} {key} as its controller would: it is not readable as its kind",
                one.resource.plural
            );
        }
        roots.push(Root { resource: one.resource, key });
    }
    let permit = session.thinkers.permit.as_deref();
    if let Some(permit) = permit {
        permit.observe(&scene.world, scene.now);
    }
    let minds = Minds { rows, permit, counted: &BUDGETS };
    let mut forecasts = foresee::run(&mut scene, &minds, &roots);
    for (forecast, (change, fields)) in forecasts.iter_mut().zip(heads) {
        forecast.change = change.to_string();
        forecast.fields = fields;
    }
    Ok(forecasts)
}

/// What would be another: `spec.replicas: 3 -> 5`. What the server keeps by itself is left out.
fn fields(before: &Value, after: &Value) -> Vec<String> {
    let mut out = Vec::new();
    for part in [
        "metadata.labels",
        "metadata.annotations",
        "spec",
        "data",
        "stringData",
        "rules",
        "subjects",
        "roleRef",
    ] {
        let pointer = format!("/{}", part.replace('.', "/"));
        let at = |object: &Value| object.pointer(&pointer).cloned().unwrap_or_default();
        difference(part, &at(before), &at(after), &mut out);
    }
    out
}

/// Longest value shown.
const VALUE_MAX: usize = 60;

fn difference(path: &str, a: &Value, b: &Value, out: &mut Vec<String>) {
    if a == b {
        return;
    }
    match (a, b) {
        (Value::Object(x), Value::Object(y)) => {
            let mut names: Vec<&String> = x.keys().chain(y.keys()).collect();
            names.sort();
            names.dedup();
            for name in names {
                let of = |map: &serde_json::Map<String, Value>| map.get(name).cloned().unwrap_or_default();
                let dotted =
                    if name.contains('.') { format!("{path}[{name}]") } else { format!("{path}.{name}") };
                difference(&dotted, &of(x), &of(y), out);
            }
        }
        (Value::Array(x), Value::Array(y)) if x.iter().chain(y).all(|i| i["name"].is_string()) => {
            let mut names: Vec<&str> = x.iter().chain(y).filter_map(|i| i["name"].as_str()).collect();
            names.dedup();
            let mut seen = Vec::new();
            for name in names {
                if !seen.contains(&name) {
                    seen.push(name);
                    let of =
                        |list: &[Value]| list.iter().find(|i| i["name"] == name).cloned().unwrap_or_default();
                    difference(&format!("{path}[{name}]"), &of(x), &of(y), out);
                }
            }
        }
        _ => out.push(format!("{path}: {} -> {}", short(a), short(b))),
    }
}

fn short(value: &Value) -> String {
    let text = match value {
        Value::Null => return "(none)".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match text.char_indices().nth(VALUE_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn changed_fields_are_named_with_both_values() {
        let object = |image: &str, replicas: i32| {
            json!({"metadata": {"labels": {"a.b/c": image}, "resourceVersion": image},
            "spec": {"replicas": replicas, "containers": [{"name": "main", "image": image}]}, "status": {"x": image}})
        };
        assert_eq!(
            fields(&object("v1", 3), &object("v2", 3)),
            ["metadata.labels[a.b/c]: v1 -> v2", "spec.containers[main].image: v1 -> v2"]
        );
        assert_eq!(
            fields(&json!({"spec": {}}), &json!({"spec": {"paused": true}})),
            ["spec.paused: (none) -> true"]
        );
        assert!(fields(&object("v1", 3), &object("v1", 3)).is_empty());
    }
}
