//! Flags of the demo.

use std::path::PathBuf;

use crate::steps::StepId;

/// Flags of `demo`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Report to write
    #[arg(long, value_name = "FILE", default_value = "report.html")]
    pub report: PathBuf,
    /// Leave the cluster running, and say how to reach it
    #[arg(long)]
    pub keep: bool,
    /// Requests per second of each load
    #[arg(long, value_name = "N", default_value_t = 2000.0)]
    pub rate: f64,
    /// Simulated nodes beside those of the story
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub nodes: usize,
    /// Directory of the cluster; it must not be there yet [default: a new one in the system's temporary directory]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Tell this step alone, after the roll-out
    #[arg(long, value_name = "STEP", value_enum)]
    pub only: Option<StepId>,
    /// Moves the moments at which things are killed; recorded in the report
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
}
