//! `release status`: groups, cells, and what is waited for.

use std::process::ExitCode;
use std::time::Duration;

use api_client::ListOptions;
use serde::Serialize;
use serde_json::Value;
use view::{Progress, Release, Stage};

use super::Named;
use super::subject::Subject;
use crate::output::{self, Format};
use crate::scene::PODS;
use crate::session::Session;
use crate::verbs::{describe, lookup};
use crate::words::namespace_flag;
use crate::{Focus, board};

/// Flags of `status`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) named: Named,
    /// Follow the release on a live board until it is done
    #[arg(short, long)]
    watch: bool,
    /// With --watch: give up after so many seconds; 0 waits without end
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    timeout: u64,
    /// Print the status as: json, yaml, wide
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<String>,
}

/// Exit code of a release that is not finished.
const NOT_FINISHED: u8 = 2;

/// What is printed as data.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    object: String,
    namespace: String,
    /// Whether nothing is left to wait for.
    done: bool,
    /// The same in a sentence.
    stage: String,
    replicas: i64,
    updated: i64,
    ready: i64,
    available: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    waits: Vec<String>,
    #[serde(flatten)]
    release: Option<Release>,
}

pub(super) async fn run(session: &mut Session, args: &Args) -> anyhow::Result<ExitCode> {
    let format = output::data_format(args.output.as_deref())?;
    let mut subject = Subject::find(session, &args.named).await?;
    let Some(mut progress) = view::progress(&subject.object) else {
        anyhow::bail!("{} is not released: it has no pods that follow a template", subject.title());
    };
    if args.watch && !progress.is_done() {
        follow(session, &subject, args.timeout).await?;
        subject.object =
            session.client.get::<Value>(&subject.resource, &subject.namespace, &subject.name).await?;
        progress = view::progress(&subject.object).unwrap_or_default();
    }
    let text = match format.is_table() {
        true => page(session, &subject, &progress, matches!(format, Format::Wide)).await?,
        false => {
            let waits = waits(session, &subject, &progress).await?;
            output::data(&format, &[status(&subject, &progress, waits)])?
        }
    };
    session.io.say(&text);
    Ok(if progress.is_done() { ExitCode::SUCCESS } else { ExitCode::from(NOT_FINISHED) })
}

async fn follow(session: &Session, subject: &Subject, timeout_secs: u64) -> anyhow::Result<()> {
    let focus = Focus {
        resource: subject.resource.clone(),
        namespace: subject.namespace.clone(),
        name: subject.name.clone(),
    };
    let env = session.env.clone();
    let stop = async move {
        match timeout_secs {
            0 => std::future::pending().await,
            secs => env.sleep(Duration::from_secs(secs)).await,
        }
    };
    board(&session.client, &session.env, vec![focus], stop).await
}

fn status(subject: &Subject, p: &Progress, waits: Vec<String>) -> Status {
    Status {
        object: subject.title(),
        namespace: subject.namespace.clone(),
        done: p.is_done(),
        stage: sentence(p),
        replicas: p.desired,
        updated: p.updated,
        ready: p.ready,
        available: p.available,
        waits,
        release: view::release(&subject.object),
    }
}

fn sentence(p: &Progress) -> String {
    match &p.stage {
        Stage::Unseen => "waits for its controller to see the newest spec".to_owned(),
        Stage::Rolling(what) => what.clone(),
        Stage::Paused => "paused".to_owned(),
        Stage::Failed(why) => format!("failed: {why}"),
        Stage::Done => "done".to_owned(),
    }
}

async fn waits(session: &Session, subject: &Subject, p: &Progress) -> anyhow::Result<Vec<String>> {
    if p.is_done() {
        return Ok(Vec::new());
    }
    let pods = match describe::pod_selector(&subject.object) {
        Some(labels) => {
            let options = ListOptions { labels, limit: lookup::PAGE, ..ListOptions::default() };
            lookup::list(session, &PODS, &subject.namespace, options).await?
        }
        None => Vec::new(),
    };
    let events = lookup::events(session, &subject.object).await;
    let waits = view::waits(&subject.object, &pods, &events, session.env.now());
    Ok(waits.iter().map(ToString::to_string).collect())
}

async fn page(session: &Session, subject: &Subject, p: &Progress, wide: bool) -> anyhow::Result<String> {
    let now = session.env.now();
    let at = namespace_flag(&subject.namespace);
    let release = view::release(&subject.object).unwrap_or_default();
    let mut out = format!("{} in {}: {}\n", subject.title(), subject.namespace, sentence(p));
    let revision = match (release.current_revision.as_str(), p.revision.as_str()) {
        (_, "") => String::new(),
        (old, new) if old.is_empty() || old == new => format!("{new}: "),
        (old, new) => format!("{old} -> {new}: "),
    };
    out += &format!(
        "{revision}{} pods, {} updated, {} ready, {} available\n",
        p.desired, p.updated, p.ready, p.available
    );
    if !release.groups.is_empty() {
        out += &format!("\n{}", release.group_table(now).text());
    }
    if !release.cells.is_empty() {
        out += &format!("\n{}", release.cell_table(wide).text());
    }
    let mut tail = Vec::new();
    if let Some(w) = &release.waits_for {
        let since =
            w.since.map_or(String::new(), |t| format!(" (for {})", view::human_duration(now.since(t))));
        tail.push(format!("Waits for: {}{since}", w.message));
    }
    tail.extend(waits(session, subject, p).await?.into_iter().map(|w| format!("Waits for: {w}")));
    if release.unconfirmed().is_some() {
        tail.push(format!("To go on: knarr release confirm {}{at}", subject.name));
    } else if p.stage == Stage::Paused {
        tail.push(format!("To go on: knarr release continue {}{at}", subject.name));
    }
    if !p.is_done() {
        tail.push(format!("Why: knarr why {}{at}", subject.title()));
    }
    if !tail.is_empty() {
        out += &format!("\n{}\n", tail.join("\n"));
    }
    Ok(out)
}
