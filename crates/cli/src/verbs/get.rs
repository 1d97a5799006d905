//! `get`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use api_client::{Body, Error};
use api_meta::{Resource, Status};
use bytes::{Buf, BytesMut};
use futures_util::StreamExt;
use http::Method;
use serde_json::Value;

use super::lookup::{self, Failures, Select};
use crate::Connect;
use crate::output::table::{ACCEPT, Look, ServerTable};
use crate::output::{Format, reference, without_managed_fields};
use crate::session::{Scope, Session};
use crate::targets::{self, Target};

/// Flags of `get`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// `pods`, `pod NAME…`, `pod/NAME svc/NAME`, `deployments,services`, `all`
    #[arg(value_name = "TYPE[/NAME]")]
    words: Vec<String>,
    /// The objects of these manifests
    #[arg(short, long, value_name = "FILE|DIR|-", conflicts_with = "words")]
    filename: Vec<PathBuf>,
    #[command(flatten)]
    scope: Scope,
    /// All namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    #[command(flatten)]
    select: Select,
    /// json, yaml, wide, name, jsonpath=TEMPLATE, custom-columns=SPEC
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<String>,
    /// Go on with changes
    #[arg(short, long)]
    watch: bool,
    /// Changes only
    #[arg(long)]
    watch_only: bool,
    /// Leave the head of tables out
    #[arg(long)]
    no_headers: bool,
    /// Show labels as the last column
    #[arg(long)]
    show_labels: bool,
    /// Keep managedFields in json and yaml
    #[arg(long)]
    show_managed_fields: bool,
    /// An object that is not there is no error
    #[arg(long)]
    ignore_not_found: bool,
    #[command(flatten)]
    pub(super) connect: Connect,
}

pub(super) async fn run(session: &mut Session, args: &Args) -> anyhow::Result<ExitCode> {
    let format = Format::parse(args.output.as_deref())?;
    let catalogue = session.catalogue().await?;
    let namespace = session.namespace(&args.scope);
    let targets = match args.filename.is_empty() {
        true => targets::parse(&catalogue, &args.words)?,
        false => from_files(session, args).await?,
    };
    if args.all_namespaces && targets.iter().any(|t| !t.names.is_empty()) {
        bail!("an object cannot be named across all namespaces; leave -A or the name out");
    }
    if !args.select.is_empty() && targets.iter().any(|t| !t.names.is_empty()) {
        bail!("selectors and names exclude each other");
    }
    let place = if args.all_namespaces { String::new() } else { namespace };
    let mut failures = Failures::new(args.ignore_not_found);
    if args.watch || args.watch_only {
        let [target] = &targets[..] else { bail!("only one resource can be watched at a time") };
        return watch(session, args, &format, target, &place).await;
    }
    if format.is_table() {
        tables(session, args, &targets, &place, &mut failures).await?;
        return Ok(failures.code());
    }
    let mut objects = Vec::new();
    let mut alone = targets.len() == 1;
    for target in &targets {
        alone &= target.names.len() == 1;
        match lookup::objects(session, target, &place, &args.select, &mut failures).await {
            Ok(found) => objects.extend(found),
            Err(error) => failures.note(session, error),
        }
    }
    if !args.show_managed_fields {
        lookup::tidy(&mut objects);
    }
    if objects.is_empty() && alone {
        return Ok(failures.code());
    }
    session.io.say(&format.print(objects, alone, !args.no_headers)?);
    Ok(failures.code())
}

async fn from_files(session: &mut Session, args: &Args) -> anyhow::Result<Vec<Target>> {
    let catalogue = session.catalogue().await?;
    let mut out = Vec::new();
    for path in &args.filename {
        for manifest in crate::read_manifests(path)? {
            let entry = catalogue.kind(manifest.api_version(), manifest.kind())?.clone();
            out.push(Target { entry, names: vec![manifest.name().to_owned()] });
        }
    }
    Ok(out)
}

async fn tables(
    session: &mut Session,
    args: &Args,
    targets: &[Target],
    place: &str,
    failures: &mut Failures,
) -> anyhow::Result<()> {
    let mut shown = 0;
    for target in targets {
        let table = match table(session, args, target, place, failures).await {
            Ok(table) => table,
            // `get all` meets kinds that this user may not list.
            Err(error) => {
                failures.note(session, error);
                continue;
            }
        };
        if table.rows.is_empty() {
            continue;
        }
        if shown > 0 {
            session.io.say("\n");
        }
        shown += 1;
        let prefix = prefix(target, targets.len() > 1);
        let text = table.lay_out(look(args, target, &prefix)).text();
        session.io.say(&text);
    }
    let named = targets.iter().any(|t| !t.names.is_empty());
    if shown == 0 && !named && failures.code() == ExitCode::SUCCESS {
        let namespaced = targets.iter().any(|t| t.entry.resource.namespaced) && !place.is_empty();
        session.io.tell(&match namespaced {
            true => format!("No resources found in {place} namespace."),
            false => "No resources found".to_owned(),
        });
    }
    Ok(())
}

fn prefix(target: &Target, many: bool) -> String {
    let r = &target.entry.resource;
    if many { reference(&r.api_version(), &r.kind, "") } else { String::new() }
}

fn look<'a>(args: &Args, target: &Target, prefix: &'a str) -> Look<'a> {
    Look {
        wide: args.output.as_deref() == Some("wide"),
        namespaces: args.all_namespaces && target.entry.resource.namespaced,
        labels: args.show_labels,
        header: !args.no_headers,
        prefix,
    }
}

async fn table(
    session: &mut Session,
    args: &Args,
    target: &Target,
    place: &str,
    failures: &mut Failures,
) -> Result<ServerTable, Error> {
    let resource = &target.entry.resource;
    if target.names.is_empty() {
        return list_table(session, args, resource, place).await;
    }
    let mut out = ServerTable::default();
    for name in &target.names {
        match read_table(session, &resource.object_path(place, name), &[]).await {
            Ok(page) if out.column_definitions.is_empty() => out = page,
            Ok(page) => out.append(page),
            Err(error) => failures.note(session, error),
        }
    }
    Ok(out)
}

async fn list_table(
    session: &Session,
    args: &Args,
    resource: &Resource,
    place: &str,
) -> Result<ServerTable, Error> {
    let options = args.select.options();
    let limit = options.limit.to_string();
    let mut out: Option<ServerTable> = None;
    let mut from = String::new();
    loop {
        let query = [
            ("labelSelector", options.labels.as_str()),
            ("fieldSelector", options.fields.as_str()),
            ("limit", limit.as_str()),
            ("continue", from.as_str()),
        ];
        let page = read_table(session, &resource.collection_path(place), &query).await?;
        let next = page.metadata.r#continue.clone();
        match &mut out {
            None => out = Some(page),
            Some(out) => out.append(page),
        }
        if next.is_empty() {
            return Ok(out.unwrap_or_default());
        }
        from = next;
    }
}

async fn read_table(session: &Session, path: &str, query: &[(&str, &str)]) -> Result<ServerTable, Error> {
    let response = session.client.send_as(ACCEPT, Method::GET, path, query, None).await?;
    let bytes = response.into_body().collect().await?;
    let unreadable = |source| Error::Unreadable { what: format!("GET {path}"), source };
    let answer: Value = serde_json::from_slice(&bytes).map_err(unreadable)?;
    ServerTable::read(answer, session.env.now()).map_err(unreadable)
}

/// What is there, then changes, until the program is stopped.
async fn watch(
    session: &mut Session,
    args: &Args,
    format: &Format,
    target: &Target,
    place: &str,
) -> anyhow::Result<ExitCode> {
    let resource = target.entry.resource.clone();
    let mut select = args.select.clone();
    match &target.names[..] {
        [] => {}
        [name] => select.field_selector = Some(format!("metadata.name={name}")),
        _ => bail!("only one object, or all of a resource, can be watched"),
    }
    let mut rows = Rows { header: !args.no_headers, widths: Vec::new() };
    let mut version = String::new();
    let mut quiet = args.watch_only;
    loop {
        if version.is_empty() {
            let wanted = Args { select: select.clone(), ..copy_of(args) };
            let first = list_table(session, &wanted, &resource, place).await?;
            version = first.metadata.resource_version.clone();
            if !quiet {
                match format.is_table() {
                    true => rows.print(session, &first, look(args, target, "")),
                    false => {
                        let objects = lookup::list(session, &resource, place, select.options()).await?;
                        objects.into_iter().try_for_each(|o| print_one(session, args, format, o))?;
                    }
                }
            }
            // A list after trouble only finds the place again.
            quiet = true;
        }
        follow(session, args, format, (target, place), &select, (&mut version, &mut rows)).await?;
    }
}

/// The flags that matter to a list.
fn copy_of(args: &Args) -> Args {
    Args {
        words: Vec::new(),
        filename: Vec::new(),
        scope: Scope::default(),
        all_namespaces: args.all_namespaces,
        select: Select::default(),
        output: args.output.clone(),
        watch: true,
        watch_only: args.watch_only,
        no_headers: args.no_headers,
        show_labels: args.show_labels,
        show_managed_fields: args.show_managed_fields,
        ignore_not_found: false,
        connect: Connect::default(),
    }
}

/// Rows that appear over time, under one head.
struct Rows {
    header: bool,
    widths: Vec<usize>,
}

impl Rows {
    fn print(&mut self, session: &mut Session, table: &ServerTable, look: Look<'_>) {
        if table.rows.is_empty() {
            return;
        }
        let laid = table.lay_out(Look { header: self.header, ..look });
        self.header = false;
        let now = laid.widths();
        self.widths.resize(now.len().max(self.widths.len()), 0);
        self.widths.iter_mut().zip(now).for_each(|(w, n)| *w = n.max(*w));
        session.io.say(&laid.text_with(&self.widths));
    }
}

/// One watch, until the server ends it or forgets the version.
async fn follow(
    session: &mut Session,
    args: &Args,
    format: &Format,
    (target, place): (&Target, &str),
    select: &Select,
    (version, rows): (&mut String, &mut Rows),
) -> anyhow::Result<()> {
    let options = select.options();
    let query = [
        ("watch", "true"),
        ("allowWatchBookmarks", "true"),
        ("labelSelector", options.labels.as_str()),
        ("fieldSelector", options.fields.as_str()),
        ("resourceVersion", version.as_str()),
    ];
    let accept = if format.is_table() { ACCEPT } else { "application/json" };
    let path = target.entry.resource.collection_path(place);
    let response = session.client.send_as(accept, Method::GET, &path, &query, None).await?;
    let mut lines = Lines::new(response.into_body());
    let mut columns = Vec::new();
    while let Some(line) = lines.next().await? {
        let mut event: Value = serde_json::from_slice(&line)?;
        let object = event["object"].take();
        let kind = event["type"].as_str().unwrap_or_default();
        if kind == "ERROR" {
            let status: Status = serde_json::from_value(object)?;
            if status.code == 410 {
                version.clear();
                return Ok(());
            }
            return Err(Error::refused(status).into());
        }
        if let Some(v) = version_of(&object) {
            *version = v;
        }
        if kind == "BOOKMARK" {
            continue;
        }
        if !format.is_table() {
            print_one(session, args, format, object)?;
            continue;
        }
        let mut table = ServerTable::read(object, session.env.now())?;
        // Only the first event of a watch tells the columns.
        if table.column_definitions.is_empty() {
            table.column_definitions.clone_from(&columns);
        }
        columns.clone_from(&table.column_definitions);
        rows.print(session, &table, look(args, target, ""));
    }
    Ok(())
}

fn version_of(object: &Value) -> Option<String> {
    let own = object.pointer("/metadata/resourceVersion");
    let row = object.pointer("/rows/0/object/metadata/resourceVersion");
    row.or(own).and_then(Value::as_str).filter(|v| !v.is_empty()).map(str::to_owned)
}

fn print_one(session: &mut Session, args: &Args, format: &Format, mut object: Value) -> anyhow::Result<()> {
    if !args.show_managed_fields {
        without_managed_fields(&mut object);
    }
    if matches!(format, Format::Yaml) {
        session.io.say("---\n");
    }
    let mut text = format.print(vec![object], true, false)?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    session.io.say(&text);
    Ok(())
}

/// Lines of a stream.
struct Lines {
    body: api_client::BodyStream,
    buffer: BytesMut,
}

impl Lines {
    fn new(body: Body) -> Lines {
        let body: api_client::BodyStream = match body {
            Body::Full(bytes) => Box::pin(futures_util::stream::iter([Ok(bytes)])),
            Body::Stream(stream) => stream,
        };
        Lines { body, buffer: BytesMut::new() }
    }

    async fn next(&mut self) -> Result<Option<BytesMut>, Error> {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let line = self.buffer.split_to(end);
                self.buffer.advance(1);
                if line.is_empty() {
                    continue;
                }
                return Ok(Some(line));
            }
            match self.body.next().await {
                Some(chunk) => self.buffer.extend_from_slice(&chunk?),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Ok(Some(self.buffer.split())),
            }
        }
    }
}
