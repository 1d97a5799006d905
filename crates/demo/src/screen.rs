//! What the terminal shows while the story is told: ticks for steps, a bar for each cell, requests and failures as they come.
//! Bars on a terminal, plain lines elsewhere.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::facts::{CafeSeen, Fact, GroupPhase, Micros, SECOND, World};
use crate::judge::Verdict;
use crate::load::{Line, Tick};
use crate::steps::{CELLS, Step};

/// The picture.
pub(crate) struct Screen {
    all: MultiProgress,
    live: bool,
    head: ProgressBar,
    cells: Vec<ProgressBar>,
    why: ProgressBar,
    app: &'static str,
    title: String,
    gauges: BTreeMap<String, Gauge>,
    last: String,
    told: Micros,
}

/// Figures of a load: all failures, and the last second.
#[derive(Default)]
struct Gauge {
    failed: u64,
    recent: Vec<Tick>,
}

/// Where there is no terminal, traffic is told this often.
const TELL_EVERY: Micros = 5 * SECOND;

impl Screen {
    pub(crate) fn new() -> Screen {
        let live = std::io::stderr().is_terminal();
        let target = if live { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let all = MultiProgress::with_draw_target(target);
        let add = |style: ProgressStyle| all.add(ProgressBar::new(0).with_style(style));
        let head = add(style("{spinner} {msg}"));
        let cells = CELLS.iter().map(|cell| add(bar()).with_prefix(*cell)).collect();
        let why = add(style("    {wide_msg}"));
        Screen {
            live,
            head,
            cells,
            why,
            all,
            app: "",
            title: String::new(),
            gauges: BTreeMap::new(),
            last: String::new(),
            told: 0,
        }
    }

    /// A step begins.
    pub(crate) fn begin(&mut self, step: &Step) {
        self.app = step.app;
        step.name.clone_into(&mut self.title);
        if !self.live {
            self.line(&format!("      {}: {}", step.name, step.what));
        }
    }

    /// What happens now, outside the steps.
    pub(crate) fn doing(&mut self, what: &str) {
        what.clone_into(&mut self.title);
        if self.live {
            self.head.set_message(self.title.clone());
        } else {
            self.line(&format!("      {what}"));
        }
    }

    /// A step is over.
    pub(crate) fn end(&mut self, step: &Step, verdict: &Verdict) {
        let tick = if verdict.holds() { "ok  " } else { "FAIL" };
        let counts = format!("{} requests, {} failed", verdict.requests, verdict.failed);
        self.line(&format!("{tick}  {:<26} {counts}", step.name));
        for complaint in &verdict.complaints {
            self.line(&format!("      - {complaint}"));
        }
        if verdict.holds() {
            verdict.remarks.iter().for_each(|r| self.line(&format!("        {r}")));
        }
    }

    /// Says something of its own.
    pub(crate) fn note(&mut self, text: &str) {
        self.line(&format!("      {text}"));
    }

    /// Takes in a fact.
    pub(crate) fn see(&mut self, fact: &Fact) {
        if let Fact::Load(app, Line::Tick(tick)) = fact {
            let gauge = self.gauges.entry(app.clone()).or_default();
            gauge.failed += tick.failed;
            gauge.recent.push(tick.clone());
            gauge.recent.retain(|t| t.until > tick.until - SECOND);
        }
    }

    /// Draws the world anew.
    pub(crate) fn draw(&mut self, world: &World, now: Micros) {
        let traffic: Vec<String> = self.gauges.iter().map(|(app, gauge)| gauge.words(app)).collect();
        let traffic = traffic.join("   ");
        let cafe = world.cafes.get(self.app);
        let why = cafe.map(why).unwrap_or_default();
        if !self.live {
            self.tell(cafe, &why, &traffic, now);
            return;
        }
        self.head.set_message(format!("{}   {traffic}", self.title));
        self.head.tick();
        for (cell, bar) in CELLS.iter().zip(&self.cells) {
            draw_cell(bar, world, self.app, cell);
        }
        self.why.set_message(why);
    }

    /// Without a terminal: a line when a group moves, and the traffic every few seconds.
    fn tell(&mut self, cafe: Option<&CafeSeen>, why: &str, traffic: &str, now: Micros) {
        let groups = cafe.map(groups).unwrap_or_default();
        if groups != self.last && !groups.is_empty() {
            let why = if why.is_empty() { String::new() } else { format!("  {why}") };
            self.line(&format!("        {groups}{why}"));
            self.last = groups;
        }
        if now - self.told >= TELL_EVERY && !traffic.is_empty() {
            self.line(&format!("        {traffic}"));
            self.told = now;
        }
    }

    /// Takes the bars away; the lines stay.
    pub(crate) fn close(&mut self) {
        self.cells.iter().chain([&self.head, &self.why]).for_each(ProgressBar::finish_and_clear);
    }

    fn line(&self, text: &str) {
        if self.live {
            let _ = self.all.println(text);
        } else {
            // Not through the progress library: it stays silent where there is no terminal.
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }
}

impl Gauge {
    fn words(&self, app: &str) -> String {
        let micros: Micros = self.recent.iter().map(|t| t.until - t.at).sum();
        let ok: u64 = self.recent.iter().map(|t| t.ok).sum();
        let p99 = self.recent.iter().map(|t| t.p99_us).max().unwrap_or(0);
        let rate = if micros > 0 { ok as f64 * SECOND as f64 / micros as f64 } else { 0.0 };
        format!("{app}: {rate:.0}/s, {} failed, p99 {} ms", self.failed, p99 / 1000)
    }
}

fn draw_cell(bar: &ProgressBar, world: &World, app: &str, cell: &str) {
    let version = world.cafes.get(app).map(|c| c.version.clone()).unwrap_or_default();
    let pods: Vec<_> = world.pods_of(app).filter(|p| p.cell == cell).collect();
    let updated = pods.iter().filter(|p| p.version() == version && p.in_service()).count();
    let serving = pods.iter().filter(|p| p.in_service()).count();
    bar.set_length(pods.len() as u64);
    bar.set_position(updated as u64);
    bar.set_message(format!("{version}, {serving} in service"));
}

/// The groups with their states, as one line.
fn groups(cafe: &CafeSeen) -> String {
    let mark = |phase| match phase {
        GroupPhase::Done => "done",
        GroupPhase::Running => "running",
        GroupPhase::WaitingForConfirmation => "waits for confirmation",
        GroupPhase::Planned | GroupPhase::Unknown => "planned",
    };
    let one = |g: &crate::facts::GroupSeen| format!("{} ({}) {}", g.name, g.size(), mark(g.phase));
    let all: Vec<String> = cafe.groups.iter().map(one).collect();
    if all.is_empty() { String::new() } else { format!("{} {}: {}", cafe.name, cafe.version, all.join(", ")) }
}

/// Why it does not move; empty when it does.
fn why(cafe: &CafeSeen) -> String {
    if cafe.failed.is_empty() { cafe.waits.clone() } else { cafe.failed.clone() }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn bar() -> ProgressStyle {
    style("    {prefix:<7} [{bar:24}] {pos}/{len} {msg}").progress_chars("=> ")
}

/// The summary: a row for each step, and what was expected of it.
pub(crate) fn table(verdicts: &[Verdict]) -> String {
    let mut out = format!("{:<26} {:>9} {:>7}  {:<36} verdict\n", "step", "requests", "failed", "expected");
    for verdict in verdicts {
        let step = verdict.step.step();
        let failed = match verdict.excused {
            0 => verdict.failed.to_string(),
            excused => format!("{}+{excused}", verdict.charged()),
        };
        let word = if verdict.holds() { "ok" } else { "FAIL" };
        out +=
            &format!("{:<26} {:>9} {failed:>7}  {:<36} {word}\n", step.name, verdict.requests, step.expected);
    }
    if verdicts.iter().any(|v| v.excused > 0) {
        out += "a+b: b requests were open in the dead cell at the kill\n";
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::StepId;

    #[test]
    fn the_summary_tells_failures_that_nobody_can_save_apart() {
        let verdict = |step, failed, excused, complaints: &[&str]| Verdict {
            step,
            requests: 24_000,
            failed,
            excused,
            complaints: complaints.iter().map(|c| (*c).to_owned()).collect(),
            remarks: Vec::new(),
        };
        let verdicts = [
            verdict(StepId::Release, 0, 0, &[]),
            verdict(StepId::Broken, 3, 0, &["requests failed"]),
            verdict(StepId::Stock, 31, 0, &[]),
            verdict(StepId::CellDeath, 17, 17, &[]),
        ];
        expect_test::expect![[r#"
            step                        requests  failed  expected                             verdict
            release v2                     24000       0  0 failed                             ok
            release a broken v3            24000       3  0 failed, at most 2 pods touched     FAIL
            control: stock Deployment      24000      31  more than 0 failed                   ok
            kill a cell                    24000    0+17  none but those open in it            ok
            a+b: b requests were open in the dead cell at the kill
        "#]]
        .assert_eq(&table(&verdicts));
    }

    #[test]
    fn the_groups_are_told_in_one_line() {
        let share = |name: &str, pods| crate::facts::Share { name: name.into(), pods };
        let group = |index, name: &str, pods, phase| crate::facts::GroupSeen {
            index,
            name: name.into(),
            cells: vec![share("CellA", pods), share("CellB", pods)],
            phase,
        };
        let cafe = CafeSeen {
            name: "shop".into(),
            version: "v2".into(),
            groups: vec![
                group(0, "beta", 1, GroupPhase::Done),
                group(1, "group-1", 2, GroupPhase::WaitingForConfirmation),
                group(2, "group-2", 2, GroupPhase::Planned),
            ],
            ..CafeSeen::default()
        };
        expect_test::expect![[
            "shop v2: beta (2) done, group-1 (4) waits for confirmation, group-2 (4) planned"
        ]]
        .assert_eq(&groups(&cafe));
    }
}
