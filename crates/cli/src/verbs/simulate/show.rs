//! A report on its way to people: table, data, page; and the bar while it is made.

use std::process::ExitCode;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use simulate::Observer;
use simulate::report::{Report, page, table};
use stdx::Env;

use super::Common;
use crate::{Io, output};

/// A bar on a terminal, and the clock when decisions are to be timed.
pub(super) struct Looker {
    bar: ProgressBar,
    clock: Option<Env>,
    runs: usize,
    done: usize,
}

/// Steps of the bar for each run.
const STEPS: usize = 1000;

impl Looker {
    pub(super) fn new(runs: usize, common: &Common, env: &Env) -> Looker {
        let live = std::io::IsTerminal::is_terminal(&std::io::stderr());
        let target = if live { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some((runs * STEPS) as u64), target);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent:>3}% {msg} ({eta} left)") {
            bar.set_style(style);
        }
        Looker { bar, clock: common.timings.then(|| env.clone()), runs, done: 0 }
    }

    /// The next run begins.
    pub(super) fn begin(&mut self, name: &str) {
        self.bar.set_message(format!("{name}, run {} of {}", self.done + 1, self.runs));
    }

    /// It has ended.
    pub(super) fn end(&mut self) {
        self.done += 1;
        self.bar.set_position((self.done * STEPS) as u64);
    }

    pub(super) fn finish(self) {
        self.bar.finish_and_clear();
    }
}

impl Observer for Looker {
    fn step(&mut self, done: usize, of: usize) {
        self.bar.set_position((self.done * STEPS + STEPS * done / of.max(1)) as u64);
    }

    fn micros(&mut self) -> Option<i64> {
        self.clock.as_ref().map(|env| env.now().micros())
    }
}

/// Prints a report, writes its page. Broken promises end with a failure.
pub(super) fn show(report: &Report, common: &Common, io: &mut Io) -> anyhow::Result<ExitCode> {
    let format = output::data_format(common.output.as_deref())?;
    if let Some(path) = &common.html {
        std::fs::write(path, page(report)).with_context(|| format!("write {}", path.display()))?;
        io.tell(&format!("page: {}", path.display()));
    }
    let text = match format {
        output::Format::Wide => table(report, true).text(),
        _ if format.is_table() => table(report, false).text(),
        _ => output::data(&format, &[report])?,
    };
    io.say(&text);
    let violations: usize = report.runs.iter().map(|r| r.violations).sum();
    if violations > 0 {
        io.tell(&format!("error: {violations} violations: a policy broke a promise, which is a bug"));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
