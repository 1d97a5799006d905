//! `simulate manifests` and `simulate recording`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use serde_json::Value;
use simulate::cluster::{Settings, Story, from_manifests, from_recording, run};
use simulate::{PolicyName, Report, Source};
use stdx::Env;

use super::show::{Looker, show};
use super::{Common, files, profiles};
use crate::{Io, output};

/// Flags of `simulate manifests`.
#[derive(Debug, clap::Args)]
pub(super) struct ManifestArgs {
    /// Manifests; annotations simulation.knarr.dev/at, every, lifetime and count say when and how many
    #[arg(short, long, value_name = "FILE|DIR|-", required = true)]
    filename: Vec<PathBuf>,
    /// Configurations of kube-scheduler to compare as well: each by the name of its file
    #[arg(long, value_name = "FILE,…", value_delimiter = ',')]
    scheduler_config: Vec<PathBuf>,
    #[command(flatten)]
    common: Common,
}

/// Flags of `simulate recording`.
#[derive(Debug, clap::Args)]
pub(super) struct RecordingArgs {
    /// Recordings, as `record` writes them; gzip or not
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Leave pods that had a node when the recording began where they were
    #[arg(long)]
    keep_bound: bool,
    /// Configurations of kube-scheduler to compare as well: each by the name of its file
    #[arg(long, value_name = "FILE,…", value_delimiter = ',')]
    scheduler_config: Vec<PathBuf>,
    #[command(flatten)]
    common: Common,
}

pub(super) fn manifests(args: &ManifestArgs, env: &Env, io: &mut Io) -> anyhow::Result<ExitCode> {
    let mut all = Vec::new();
    for path in &args.filename {
        all.extend(crate::read_manifests(path)?);
    }
    let objects: Vec<Value> = all.iter().map(|m| m.object.clone()).collect();
    let told = from_manifests("manifests", &objects);
    let (story, left_out) = told.map_err(|(at, field, why)| {
        let manifest = &all[at];
        let place = if field.is_empty() { manifest.source.clone() } else { manifest.place(field) };
        let field = if field.is_empty() { String::new() } else { format!(": {field}") };
        anyhow::anyhow!("{place}: {} {}{field}: {why}", manifest.kind(), manifest.name())
    })?;
    for name in &left_out {
        io.tell(&format!("left out: {name}: neither node nor pod, and makes no pods"));
    }
    if !story.has_nodes() {
        bail!(
            "no nodes among the manifests: add a Node with status.allocatable; the annotation simulation.knarr.dev/count makes many of it"
        );
    }
    replay(&[story], &args.scheduler_config, &args.common, env, io)
}

pub(super) fn recording(args: &RecordingArgs, env: &Env, io: &mut Io) -> anyhow::Result<ExitCode> {
    let mut stories = Vec::new();
    for path in &args.files {
        let (name, text) = (path.display().to_string(), files::text(path)?);
        stories.push(from_recording(Source { name: &name, text: &text }, args.keep_bound)?);
    }
    replay(&stories, &args.scheduler_config, &args.common, env, io)
}

fn replay(
    stories: &[Story],
    configs: &[PathBuf],
    common: &Common,
    env: &Env,
    io: &mut Io,
) -> anyhow::Result<ExitCode> {
    output::data_format(common.output.as_deref())?;
    let named = configs.iter().map(|path| profiles::read(path, io)).collect::<anyhow::Result<Vec<_>>>()?;
    let own = vec![PolicyName::DefaultScheduler, PolicyName::Knarr];
    let policies = if common.policies.is_empty() { own } else { common.policies.clone() };
    let mut all: Vec<Settings<'_>> = policies.into_iter().map(Settings::policy).collect();
    all.extend(named.iter().map(|n| Settings {
        scheduler: Some((n.name.as_str(), &n.profiles[..])),
        ..Settings::policy(PolicyName::DefaultScheduler)
    }));
    let mut looker = Looker::new(stories.len() * all.len(), common, env);
    let mut runs = Vec::new();
    for story in stories {
        for settings in &all {
            looker.begin(&format!("{} {}", story.name, settings.name()));
            let settings = Settings { keep: common.placements, ..*settings };
            runs.push(run(story, &settings, &mut looker).map_err(anyhow::Error::msg)?);
            looker.end();
        }
    }
    looker.finish();
    let names: Vec<&str> = stories.iter().map(|s| s.name.as_str()).collect();
    show(&Report::new(&names.join(", "), runs), common, io)
}
