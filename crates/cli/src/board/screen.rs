//! Drawing: bars that move on a terminal, one line per change elsewhere.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use stdx::Time;
use view::{Progress, Release, Stage, Wait};

use super::batches::Batch;
use super::groups::{self, Groups};
use super::{Focus, REMIND_EVERY};

/// The board on the screen.
pub(super) struct Screen {
    all: MultiProgress,
    live: bool,
    rows: Vec<Row>,
}

/// One workload.
struct Row {
    title: String,
    batch: usize,
    bar: Option<ProgressBar>,
    groups: Groups,
    /// Reason under the bar.
    below: Option<ProgressBar>,
    last: String,
    told: Option<Time>,
}

/// Reasons shown at once.
const WAITS_SHOWN: usize = 2;

impl Screen {
    pub(super) fn new(focus: &[Focus]) -> Screen {
        let live = std::io::IsTerminal::is_terminal(&std::io::stderr());
        let target = if live { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let row = |f: &Focus| Row {
            title: format!("{}/{}", f.namespace, f.name),
            batch: 0,
            bar: None,
            groups: Groups::default(),
            below: None,
            last: String::new(),
            told: None,
        };
        Screen { all: MultiProgress::with_draw_target(target), live, rows: focus.iter().map(row).collect() }
    }

    /// Shows one look at a workload.
    pub(super) fn draw(&mut self, i: usize, p: &Progress, batch: Batch, waits: &[Wait], now: Time) {
        let reason = reason(p, waits);
        if self.live {
            self.draw_bar(i, p, batch, &reason);
        } else {
            self.line(i, line(p, batch, &reason), now);
        }
    }

    /// Shows one look at a workload that is released by groups.
    pub(super) fn draw_release(
        &mut self,
        focus: &Focus,
        i: usize,
        release: &Release,
        p: &Progress,
        waits: &[Wait],
        now: Time,
    ) {
        let told = groups::below(focus, release, p, waits, now);
        if !self.live {
            // Lengths of time change with every look and are no news.
            let steady = groups::below(focus, release, p, waits, steady_since(release, now));
            return self.line(i, groups::line(release, &steady), now);
        }
        let row = &mut self.rows[i];
        let reasons_bar = || self.all.add(ProgressBar::new(0).with_style(reasons()));
        let below = row.below.get_or_insert_with(reasons_bar);
        row.groups.draw(&self.all, below, &row.title, release);
        below.set_message(format!("  {told}"));
    }

    /// Says something about a workload that cannot be shown.
    pub(super) fn note(&mut self, i: usize, text: &str, now: Time) {
        if self.live {
            if let Some(below) = &self.rows[i].below {
                below.set_message(format!("  {text}"));
            }
        } else {
            self.line(i, text.to_owned(), now);
        }
    }

    /// Leaves the last picture on the screen.
    pub(super) fn close(&mut self) {
        for row in &mut self.rows {
            row.bar.take().into_iter().for_each(|b| b.abandon());
            row.groups.close();
            row.below.take().into_iter().for_each(|b| b.finish_and_clear());
        }
    }

    fn draw_bar(&mut self, i: usize, p: &Progress, batch: Batch, reason: &str) {
        let row = &mut self.rows[i];
        if row.batch != batch.number || row.bar.is_none() {
            // The bar of a batch that is over stays above, full.
            if let Some(old) = row.bar.take() {
                old.set_position(old.length().unwrap_or(0));
                old.abandon();
            }
            row.batch = batch.number;
            let bar = ProgressBar::new(0).with_style(style());
            let bar = match &row.below {
                Some(below) => self.all.insert_before(below, bar),
                None => self.all.add(bar),
            };
            let reasons = ProgressBar::new(0).with_style(reasons());
            row.below.get_or_insert_with(|| self.all.insert_after(&bar, reasons));
            bar.set_prefix(format!("{} batch {}", row.title, batch.number));
            row.bar = Some(bar);
        }
        if let Some(bar) = &row.bar {
            bar.set_length(count(batch.size()));
            bar.set_position(count(batch.done(p)));
            bar.set_message(counts(p));
        }
        if let Some(below) = &row.below {
            below.set_message(if reason.is_empty() { String::new() } else { format!("  {reason}") });
        }
    }

    fn line(&mut self, i: usize, text: String, now: Time) {
        let row = &mut self.rows[i];
        let stale = row.told.is_none_or(|t| now.since(t) >= REMIND_EVERY);
        if text == row.last && !stale {
            return;
        }
        // Not through the progress library: it stays silent where there is no terminal.
        let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{}: {text}\n", row.title));
        (row.last, row.told) = (text, Some(now));
    }
}

/// The moment at which a wait of a release began, so that its length is not told.
fn steady_since(release: &Release, now: Time) -> Time {
    release.waits_for.as_ref().and_then(|w| w.since).unwrap_or(now)
}

pub(super) fn count(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

pub(super) fn style() -> ProgressStyle {
    let style = ProgressStyle::with_template("{prefix:<28} [{bar:30}] {pos}/{len} {msg}");
    style.map_or_else(|_| ProgressStyle::default_bar(), |s| s.progress_chars("=> "))
}

fn reasons() -> ProgressStyle {
    ProgressStyle::with_template("{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn counts(p: &Progress) -> String {
    format!("updated {} ready {} available {} of {}", p.updated, p.ready, p.available, p.desired)
}

/// Why it waits; empty when it is done.
pub(super) fn reason(p: &Progress, waits: &[Wait]) -> String {
    let stage = match &p.stage {
        Stage::Done => return String::new(),
        Stage::Unseen => "waits for its controller".to_owned(),
        Stage::Paused => "paused: it goes on when updateStrategy is no longer paused".to_owned(),
        Stage::Failed(why) => format!("failed: {why}"),
        Stage::Rolling(what) => what.clone(),
    };
    let more = waits.len().saturating_sub(WAITS_SHOWN);
    let mut parts: Vec<String> = waits.iter().take(WAITS_SHOWN).map(Wait::to_string).collect();
    parts.extend((more > 0).then(|| format!("{more} further reasons")));
    if parts.is_empty() { stage } else { format!("{stage}; {}", parts.join("; ")) }
}

fn line(p: &Progress, batch: Batch, reason: &str) -> String {
    let bar = view::bar(batch.done(p), batch.size(), 20);
    let head = format!("batch {} [{bar}] {}/{} {}", batch.number, batch.done(p), batch.size(), counts(p));
    if reason.is_empty() { format!("{head}: done") } else { format!("{head}: {reason}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_batch_counts_and_reason() {
        let p = Progress {
            desired: 10,
            target: 4,
            updated: 3,
            updated_available: 2,
            ready: 9,
            available: 9,
            replicas: 10,
            revision: "r".into(),
            stage: Stage::Rolling("2 of 4 updated pods are available".into()),
        };
        let wait = Wait { pods: 1, example: "web-7".into(), why: "container main is not ready".into() };
        let batch = Batch { number: 1, from: 0, to: 4 };
        assert_eq!(
            line(&p, batch, &reason(&p, &[wait])),
            "batch 1 [##########----------] 2/4 updated 3 ready 9 available 9 of 10: \
             2 of 4 updated pods are available; web-7: container main is not ready"
        );
    }
}
