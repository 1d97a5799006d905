//! The report: one self-contained page, drawn from the chronicle alone.
//!
//! ```text
//! chronicle ─series─> seconds, lanes, bars ─chart─> inline SVG ─page─> report.html
//! ```
//!
//! No script, no font, no picture from elsewhere. What is absent: judgement; verdicts come ready.

mod chart;
mod page;
mod series;
mod svg;

#[cfg(test)]
mod tests;

use crate::facts::{Chronicle, Micros};
use crate::judge::Verdict;
use crate::steps::StepId;

/// Under which conditions the story was told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conditions {
    /// Version of this program.
    pub version: String,
    /// When it began.
    pub began: Micros,
    /// When all was cleared away.
    pub ended: Micros,
    /// Processors the program may use.
    pub cpus: usize,
    /// Their model.
    pub cpu: String,
    /// Memory of the machine.
    pub memory: String,
    /// Release of the kernel.
    pub kernel: String,
    /// Requests per second of each load.
    pub rate: f64,
    /// Connections each load began with.
    pub connections: usize,
    /// Simulated nodes.
    pub nodes: usize,
    /// Nodes with real processes.
    pub process_nodes: usize,
    /// Seed of the moments at which things are killed.
    pub seed: u64,
    /// Steps that were to be told.
    pub steps: Vec<StepId>,
}

/// The page. `loose` are complaints that belong to no step.
pub fn html(
    chronicle: &Chronicle,
    verdicts: &[Verdict],
    loose: &[String],
    conditions: &Conditions,
) -> String {
    page::page(chronicle, verdicts, loose, conditions)
}
