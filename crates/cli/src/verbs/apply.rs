//! `apply`: server-side apply of manifests.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use api_client::{Class, Client, Error};
use api_meta::{Resource, Status};
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::Value;
use stdx::Env;

use super::lookup::Failures;
use crate::output::{Format, reference, without_managed_fields};
use crate::session::{Scope, Session};
use crate::{Catalogue, Connect, Manifest};

/// Flags of `apply`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Manifests
    #[arg(short, long, value_name = "FILE|DIR|-", required = true)]
    filename: Vec<PathBuf>,
    #[command(flatten)]
    scope: Scope,
    /// Name under which the fields are owned
    #[arg(long, value_name = "NAME", default_value = MANAGER)]
    field_manager: String,
    /// Take fields over that others own
    #[arg(long)]
    force_conflicts: bool,
    /// Accepted for the sake of habit: apply is always server-side
    #[arg(long, hide = true)]
    server_side: bool,
    /// Check everything, change nothing
    #[arg(long, value_name = "server", num_args = 0..=1, default_missing_value = "server", require_equals = true)]
    dry_run: Option<String>,
    /// Print the objects: json, yaml, name, jsonpath=TEMPLATE, custom-columns=SPEC
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<String>,
    #[command(flatten)]
    pub(super) connect: Connect,
}

/// Owner of applied fields.
pub(super) const MANAGER: &str = "knarr";

/// What an apply did.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// `deployment.apps/web`.
    pub name: String,
    /// What became of it.
    pub change: Change,
    /// The object as the server has it now.
    pub object: Value,
    /// What the server warned of.
    pub warnings: Vec<String>,
}

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was not there before.
    Created,
    /// It is another now.
    Configured,
    /// It was so already.
    Unchanged,
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Change::Created => "created",
            Change::Configured => "configured",
            Change::Unchanged => "unchanged",
        })
    }
}

/// How to apply.
pub(super) struct Way<'a> {
    pub(super) manager: &'a str,
    pub(super) force: bool,
    pub(super) dry_run: bool,
    pub(super) namespace: &'a str,
    /// Named on the command line: a manifest must not name another.
    pub(super) strict_namespace: bool,
}

pub(super) async fn run(session: &mut Session, args: &Args) -> anyhow::Result<ExitCode> {
    let format = Format::parse(args.output.as_deref())?;
    if let Some(other) = args.dry_run.as_deref().filter(|d| *d != "server") {
        bail!("--dry-run={other}: the server checks best; say --dry-run=server");
    }
    let mut manifests = Vec::new();
    for path in &args.filename {
        manifests.extend(crate::read_manifests(path)?);
    }
    if manifests.is_empty() {
        bail!("no objects passed to apply");
    }
    let namespace = session.namespace(&args.scope);
    let way = Way {
        manager: &args.field_manager,
        force: args.force_conflicts,
        dry_run: args.dry_run.is_some(),
        namespace: &namespace,
        strict_namespace: args.scope.namespace.is_some(),
    };
    let mut failures = Failures::default();
    let mut kinds = Kinds::new(session.client.clone(), session.env.clone());
    for manifest in &manifests {
        match apply(&mut kinds, manifest, &way).await {
            Ok(applied) => show(session, args, &format, applied)?,
            Err(error) => failures.note(session, error),
        }
    }
    Ok(failures.code())
}

fn show(session: &mut Session, args: &Args, format: &Format, mut applied: Applied) -> anyhow::Result<()> {
    applied.warnings.iter().for_each(|w| session.io.tell(&format!("Warning: {w}")));
    if format.is_table() {
        let tail = if args.dry_run.is_some() { " (server dry run)" } else { "" };
        session.io.say(&format!("{} {}{tail}\n", applied.name, applied.change));
        return Ok(());
    }
    without_managed_fields(&mut applied.object);
    session.io.say(&format.print(vec![applied.object], true, true)?);
    Ok(())
}

/// Applies manifests in their order under the manager `knarr`, in namespace `default` where they name none, and says on
/// stderr what became of each. Ends with the first that is refused.
pub async fn apply_all(client: &Client, env: &Env, manifests: &[Manifest]) -> anyhow::Result<Vec<Applied>> {
    let way =
        Way { manager: MANAGER, force: false, dry_run: false, namespace: "default", strict_namespace: false };
    let mut kinds = Kinds::new(client.clone(), env.clone());
    let mut io = crate::Io::terminal();
    let mut out = Vec::new();
    for manifest in manifests {
        let applied = apply(&mut kinds, manifest, &way).await?;
        applied.warnings.iter().for_each(|w| io.tell(&format!("Warning: {w}")));
        io.tell(&format!("{} {}", applied.name, applied.change));
        out.push(applied);
    }
    Ok(out)
}

/// What the server serves; asked again for a kind that an earlier manifest may have defined.
pub(super) struct Kinds {
    client: Client,
    env: Env,
    catalogue: Option<Catalogue>,
}

/// A new definition is served a moment after it was stored.
const DEFINITION_TRIES: u32 = 20;
const DEFINITION_WAIT: Duration = Duration::from_millis(250);

impl Kinds {
    pub(super) fn new(client: Client, env: Env) -> Kinds {
        Kinds { client, env, catalogue: None }
    }

    pub(super) async fn resource(&mut self, manifest: &Manifest, defines: bool) -> anyhow::Result<Resource> {
        for attempt in 0.. {
            if self.catalogue.is_none() {
                self.catalogue = Some(Catalogue::fetch(&self.client).await?);
            }
            let known = self.catalogue.as_ref().map(|c| c.kind(manifest.api_version(), manifest.kind()));
            match known {
                Some(Ok(entry)) => return Ok(entry.resource.clone()),
                Some(Err(unknown)) if !defines || attempt >= DEFINITION_TRIES => {
                    return Err(unknown).with_context(|| manifest.place("kind"));
                }
                _ => {
                    self.catalogue = None;
                    self.env.sleep(DEFINITION_WAIT).await;
                }
            }
        }
        bail!("{}: the kind was not looked for", manifest.place("kind"))
    }
}

pub(super) async fn apply(kinds: &mut Kinds, manifest: &Manifest, way: &Way<'_>) -> anyhow::Result<Applied> {
    if manifest.name().is_empty() {
        bail!(
            "{}: apply needs metadata.name; generateName makes a new object each time",
            manifest.place("metadata")
        );
    }
    if way.strict_namespace && !manifest.namespace().is_empty() && manifest.namespace() != way.namespace {
        bail!(
            "{}: the namespace of the manifest is {:?}, but --namespace says {:?}",
            manifest.place("metadata.namespace"),
            manifest.namespace(),
            way.namespace
        );
    }
    let defined = kinds.catalogue.is_some();
    let resource = kinds.resource(manifest, defined).await?;
    let namespace = if manifest.namespace().is_empty() { way.namespace } else { manifest.namespace() };
    let before = version_before(&kinds.client, &resource, namespace, manifest.name()).await?;
    let path = resource.object_path(namespace, manifest.name());
    let flag = |on: bool, word: &'static str| if on { word } else { "" };
    let query = [
        ("fieldManager", way.manager),
        ("force", flag(way.force, "true")),
        ("dryRun", flag(way.dry_run, "All")),
        ("fieldValidation", "Strict"),
    ];
    let body = Bytes::from(serde_json::to_vec(&manifest.object)?);
    let sent =
        kinds.client.send(Method::PATCH, &path, &query, Some(("application/apply-patch+yaml", body))).await;
    let response = sent.map_err(|e| explain(manifest, way, e))?;
    let created = response.status() == StatusCode::CREATED;
    let warnings = warnings(response.headers());
    let object: Value = serde_json::from_slice(&response.into_body().collect().await?)?;
    let same = before.is_some() && before.as_deref() == object["metadata"]["resourceVersion"].as_str();
    let change = match (created, same && !way.dry_run) {
        (true, _) => Change::Created,
        (false, true) => Change::Unchanged,
        (false, false) => Change::Configured,
    };
    let name = reference(&resource.api_version(), &resource.kind, manifest.name());
    Ok(Applied { name, change, object, warnings })
}

async fn version_before(
    client: &Client,
    resource: &Resource,
    namespace: &str,
    name: &str,
) -> Result<Option<String>, Error> {
    match client.metadata_only().get::<api_client::MetaOnly>(resource, namespace, name).await {
        Ok(found) => Ok(Some(found.metadata.resource_version)),
        Err(error) if error.is_not_found() => Ok(None),
        // Who may write but not read still may apply.
        Err(error) if error.class() == Class::Forbidden => Ok(None),
        Err(error) => Err(error),
    }
}

/// The texts of `Warning: 299 - "…"` headers.
fn warnings(headers: &http::HeaderMap) -> Vec<String> {
    let texts = headers.get_all(http::header::WARNING).iter().filter_map(|v| v.to_str().ok());
    texts
        .map(|t| {
            let quoted = t.split_once('"').and_then(|(_, rest)| rest.rsplit_once('"'));
            quoted.map_or(t, |(inner, _)| inner).replace("\\\"", "\"").replace("\\\\", "\\")
        })
        .collect()
}

/// A refusal in terms of the file: one line per mistake, with its place.
fn explain(manifest: &Manifest, way: &Way<'_>, error: Error) -> anyhow::Error {
    let Some(status) = error.status() else { return error.into() };
    let causes = status.details.as_ref().map_or(&[][..], |d| &d.causes);
    if causes.iter().any(|c| c.reason == "FieldManagerConflict") {
        let lines: String = causes
            .iter()
            .map(|c| format!("\n{}: {}: {}", manifest.place(&c.field), c.field, c.message))
            .collect();
        let how_many = match causes.len() {
            1 => "one field has another owner".to_owned(),
            n => format!("{n} fields have other owners"),
        };
        return anyhow::anyhow!(
            "{}: {how_many}:{lines}\nTake them over with --force-conflicts, or leave them out of the manifest. (You \
             are {:?}.)",
            manifest.source,
            way.manager
        );
    }
    let found = mistakes(status);
    if found.is_empty() {
        let place = manifest.place("");
        return match error {
            Error::Refused(status) => {
                anyhow::anyhow!("{place}: Error from server ({}): {status}", status.reason)
            }
            other => other.into(),
        };
    }
    let lines: Vec<String> =
        found.iter().map(|(f, what)| format!("{}: {f}: {what}", manifest.place(f))).collect();
    anyhow::anyhow!("{}", lines.join("\n"))
}

/// Fields and what is wrong with them, from causes or from the words of strict decoding and of typed apply.
fn mistakes(status: &Status) -> Vec<(String, String)> {
    let causes = status.details.as_ref().map_or(&[][..], |d| &d.causes);
    let named = causes.iter().filter(|c| !c.field.is_empty() && c.field != "<nil>" && c.field != "patch");
    let mut out: Vec<(String, String)> = named.map(|c| (c.field.clone(), c.message.clone())).collect();
    if !out.is_empty() {
        return out;
    }
    for (sign, what) in [("unknown field \"", "no such field"), ("duplicate field \"", "it is there twice")] {
        for part in status.message.split(sign).skip(1) {
            let field = part.split('"').next().unwrap_or_default();
            out.push((field.to_owned(), what.to_owned()));
        }
    }
    // `failed to create typed patch object (…): .spec.x: field not declared in schema`, or several under `errors:`.
    if let Some((_, rest)) = status.message.split_once("typed patch object (") {
        let rest = rest.split_once("): ").map_or(rest, |(_, r)| r);
        for line in rest.lines().map(str::trim) {
            if let Some((field, what)) = line.split_once(": ").filter(|(f, _)| f.starts_with('.')) {
                let what = if what == "field not declared in schema" { "no such field" } else { what };
                out.push((field.trim_start_matches('.').to_owned(), what.to_owned()));
            }
        }
    }
    out
}
