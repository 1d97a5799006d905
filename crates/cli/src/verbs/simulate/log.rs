//! `simulate log`: makes the decisions of a decision log once more.

use std::path::PathBuf;
use std::process::ExitCode;

use simulate::Source;
use simulate::log::{LogReport, LogSettings, replay};

use super::{files, profiles};
use crate::{Io, output};

/// Flags of `simulate log`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Decision logs, as `up` and `run` write them with --decision-log; gzip or not
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Decide by this KubeSchedulerConfiguration instead of the one in force then, and say where it chooses otherwise
    #[arg(long, value_name = "FILE")]
    scheduler_config: Option<PathBuf>,
    /// Tell what was decided about this pod, and why
    #[arg(long, value_name = "NAMESPACE/NAME")]
    pod: Option<String>,
    /// Print the outcome as: json, yaml
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<String>,
}

pub(super) fn run(args: &Args, io: &mut Io) -> anyhow::Result<ExitCode> {
    let format = output::data_format(args.output.as_deref())?;
    let policy = args.scheduler_config.as_ref().map(|path| profiles::read(path, io)).transpose()?;
    let settings = LogSettings {
        policy: policy.as_ref().map(|p| (p.name.as_str(), &p.profiles[..])),
        about: args.pod.as_deref(),
    };
    let mut reports: Vec<LogReport> = Vec::new();
    for path in &args.files {
        let (name, text) = (path.display().to_string(), files::text(path)?);
        reports.push(replay(Source { name: &name, text: &text }, &settings)?);
    }
    let text = match format.is_table() {
        true => reports.iter().map(LogReport::text).collect::<Vec<_>>().join("\n"),
        false => output::data(&format, &reports)?,
    };
    io.say(&text);
    // What the same rules do not decide alike is a bug; what others decide otherwise is what was asked.
    let broken = policy.is_none() && reports.iter().any(|r| r.different > 0);
    if broken {
        io.tell("error: the same rules decided otherwise: rules beside those of the configuration had a say, or this is a bug");
    }
    Ok(if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
