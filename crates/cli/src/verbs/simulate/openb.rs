//! `simulate openb`: node list, pod lists, recorded or drawn orders.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use simulate::openb::{Order, Trace};
use simulate::{PolicyName, Report, Source};
use stdx::Env;

use super::show::{Looker, show};
use super::{Common, files};
use crate::{Io, output};

/// Flags of `simulate openb`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Node list: CSV with sn, cpu_milli, memory_mib, gpu, model; gzip or not
    #[arg(long, value_name = "FILE")]
    nodes: PathBuf,
    /// Pod lists: CSV with name, cpu_milli, memory_mib, num_gpu, gpu_milli, gpu_spec
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    pods: Vec<PathBuf>,
    /// Recorded orders: DIR/SEED.pods.txt and DIR/SEED.nodes.txt, or below DIR/TRACE, with or without .gz [default: drawn by the seed]
    #[arg(long, value_name = "DIR")]
    replay: Option<PathBuf>,
    /// Which orders [default: all that are recorded; 42 of drawn ones]
    #[arg(long = "seed", value_name = "N,…", value_delimiter = ',')]
    seeds: Vec<u64>,
    /// Devices that drawn arrivals ask for, in percent of all
    #[arg(long, value_name = "PERCENT", default_value_t = 131, value_parser = clap::value_parser!(u32).range(1..=1000))]
    load: u32,
    #[command(flatten)]
    common: Common,
}

/// A pod list with its orders.
struct Input {
    name: String,
    trace: Trace,
    orders: Vec<Order>,
}

pub(super) fn run(args: &Args, env: &Env, io: &mut Io) -> anyhow::Result<ExitCode> {
    output::data_format(args.common.output.as_deref())?;
    let nodes = files::text(&args.nodes)?;
    let inputs: Vec<Input> =
        args.pods.iter().map(|pods| input(args, &nodes, pods)).collect::<anyhow::Result<_>>()?;
    let all = PolicyName::ALL.into_iter().filter(|p| *p != PolicyName::DefaultScheduler);
    let policies = if args.common.policies.is_empty() { all.collect() } else { args.common.policies.clone() };
    let count = inputs.iter().map(|i| i.orders.len()).sum::<usize>() * policies.len();
    let mut looker = Looker::new(count, &args.common, env);
    let mut runs = Vec::new();
    for input in &inputs {
        for policy in &policies {
            for order in &input.orders {
                looker.begin(&format!("{} {}", input.name, policy.text()));
                let keep = args.common.placements;
                runs.push(simulate::openb::run(
                    &input.trace,
                    &input.name,
                    order,
                    *policy,
                    keep,
                    &mut looker,
                )?);
                looker.end();
            }
        }
    }
    looker.finish();
    let orders = if args.replay.is_some() { "recorded orders" } else { "drawn orders" };
    let source = format!("{}, {} pod lists, {orders}", stem(&args.nodes), inputs.len());
    show(&Report::new(&source, runs), &args.common, io)
}

fn input(args: &Args, nodes: &str, pods: &Path) -> anyhow::Result<Input> {
    let (nodes_name, pods_name) = (args.nodes.display().to_string(), pods.display().to_string());
    let text = files::text(pods)?;
    let trace =
        Trace::read(Source { name: &nodes_name, text: nodes }, Source { name: &pods_name, text: &text })?;
    let name = stem(pods);
    let orders = match &args.replay {
        Some(dir) => recorded(&trace, &place(dir, &name), &args.seeds)?,
        None => {
            let seeds = if args.seeds.is_empty() { vec![42] } else { args.seeds.clone() };
            seeds.iter().map(|seed| Order::drawn(&trace, *seed, args.load)).collect()
        }
    };
    Ok(Input { name, trace, orders })
}

/// What a list is called: `default` of `openb_pod_list_default.csv`.
fn stem(path: &Path) -> String {
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name = file.trim_end_matches(".gz").trim_end_matches(".csv");
    name.strip_prefix("openb_pod_list_").unwrap_or(name).to_owned()
}

/// The folder of a trace's orders: its own below `dir`, if there is one.
fn place(dir: &Path, trace: &str) -> PathBuf {
    let own = dir.join(trace);
    if own.is_dir() { own } else { dir.to_owned() }
}

fn recorded(trace: &Trace, dir: &Path, wanted: &[u64]) -> anyhow::Result<Vec<Order>> {
    let seeds = match wanted {
        [] => seeds(dir)?,
        some => some.to_vec(),
    };
    if seeds.is_empty() {
        bail!("{}: no SEED.pods.txt or SEED.pods.txt.gz in this folder", dir.display());
    }
    let one = |seed: &u64| -> anyhow::Result<Order> {
        let (nodes, pods) = (order(dir, *seed, "nodes")?, order(dir, *seed, "pods")?);
        let nodes = Source { name: &nodes.0, text: &nodes.1 };
        Ok(Order::read(trace, *seed, nodes, Source { name: &pods.0, text: &pods.1 })?)
    };
    seeds.iter().map(one).collect()
}

/// Seeds of a folder's files, in their order.
fn seeds(dir: &Path) -> anyhow::Result<Vec<u64>> {
    let mut seeds = BTreeSet::new();
    for entry in std::fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let seed: Option<u64> =
            name.strip_suffix(".gz").unwrap_or(&name).strip_suffix(".pods.txt").and_then(|s| s.parse().ok());
        seeds.extend(seed);
    }
    Ok(seeds.into_iter().collect())
}

/// Name and text of one order.
fn order(dir: &Path, seed: u64, what: &str) -> anyhow::Result<(String, String)> {
    let plain = dir.join(format!("{seed}.{what}.txt"));
    let packed = dir.join(format!("{seed}.{what}.txt.gz"));
    let path = if plain.exists() { plain } else { packed };
    Ok((path.display().to_string(), files::text(&path)?))
}
