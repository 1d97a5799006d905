//! `simulate`: replays a trace, manifests or a recording under several policies and compares what comes out.
//!
//! Reads files and prints; the simulation itself is `simulate`'s. No cluster is touched.

mod cluster;
mod files;
mod log;
mod openb;
mod profiles;
mod show;

use std::path::PathBuf;
use std::process::ExitCode;

use simulate::PolicyName;
use simulate::report::{Difference, Report, diff};
use stdx::Env;

use crate::{Io, fault, output};

/// Flags of `simulate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Replay pods with fractions of devices, as in Alibaba's cluster-trace-gpu-v2023
    Openb(openb::Args),
    /// Replay manifests with times: nodes, pods and workloads
    Manifests(cluster::ManifestArgs),
    /// Replay what `record` wrote of a live cluster
    Recording(cluster::RecordingArgs),
    /// Make the decisions of a decision log once more, by the same rules or others
    Log(log::Args),
    /// Say what changed from one report to another
    Diff(DiffArgs),
}

/// What all replays have in common.
#[derive(Debug, clap::Args)]
pub(super) struct Common {
    /// Policies to compare: FGD, BestFit, DotProd, GpuClustering, GpuPacking, knarr, default-scheduler [default: all that can]
    #[arg(long = "policy", value_name = "NAME,…", value_delimiter = ',', value_parser = PolicyName::parse)]
    policies: Vec<PolicyName>,
    /// Print the report as: json, yaml, wide
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<String>,
    /// Write a page with the plots
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Time decisions; the report is then not the same twice
    #[arg(long)]
    timings: bool,
    /// Keep the node of every pod in the report
    #[arg(long)]
    placements: bool,
}

/// Flags of `simulate diff`.
#[derive(Debug, clap::Args)]
struct DiffArgs {
    /// A report, as `-o json` writes it
    #[arg(value_name = "A")]
    a: PathBuf,
    /// Another
    #[arg(value_name = "B")]
    b: PathBuf,
    /// Print the differences as: json, yaml
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<String>,
}

/// Carries it out; errors are told on stderr and become the exit code.
pub(super) fn run(args: &Args, env: &Env, io: &mut Io) -> ExitCode {
    let done = match &args.what {
        What::Openb(args) => openb::run(args, env, io),
        What::Manifests(args) => cluster::manifests(args, env, io),
        What::Recording(args) => cluster::recording(args, env, io),
        What::Log(args) => log::run(args, io),
        What::Diff(args) => compare(args, io),
    };
    done.unwrap_or_else(|error| {
        io.tell(&fault::text(&error));
        ExitCode::FAILURE
    })
}

fn compare(args: &DiffArgs, io: &mut Io) -> anyhow::Result<ExitCode> {
    let format = output::data_format(args.output.as_deref())?;
    let read = |path: &PathBuf| -> anyhow::Result<Report> {
        let text = files::text(path)?;
        Report::read(&text).map_err(|why| anyhow::anyhow!("{} {why}", path.display()))
    };
    let (differences, alone) = diff(&read(&args.a)?, &read(&args.b)?);
    alone.iter().for_each(|line| io.tell(line));
    let text = match format.is_table() {
        true if differences.is_empty() => "no differences\n".to_owned(),
        true => Difference::table(&differences).text(),
        false => output::data(&format, &[&differences])?,
    };
    io.say(&text);
    Ok(ExitCode::SUCCESS)
}
