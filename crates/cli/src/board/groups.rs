//! A release by groups on the board: one bar per group, the cells and the way on below.

use indicatif::{MultiProgress, ProgressBar};
use stdx::Time;
use view::{Progress, Release, Stage, Wait};

use super::Focus;
use super::screen::{count, reason, style};

/// The bars of one release.
#[derive(Default)]
pub(super) struct Groups {
    /// Which release they are of: its target and its shape.
    of: String,
    bars: Vec<ProgressBar>,
}

impl Groups {
    /// Brings the bars in line with what was seen. Those of a release that is over stay above.
    pub(super) fn draw(&mut self, all: &MultiProgress, below: &ProgressBar, title: &str, release: &Release) {
        let of = identity(release);
        if self.of != of {
            self.close();
            self.of = of;
            for group in &release.groups {
                let bar = all.insert_before(below, ProgressBar::new(0).with_style(style()));
                bar.set_prefix(format!("{title} {}", group.name));
                self.bars.push(bar);
            }
        }
        for (bar, group) in self.bars.iter().zip(&release.groups) {
            bar.set_length(count(group.pods()));
            bar.set_position(count(group.done()));
            let cells: Vec<String> = group.cells.iter().map(|(cell, n)| format!("{cell} {n}")).collect();
            bar.set_message(format!("{} {}", word(&group.phase), cells.join(", ")));
        }
    }

    /// Leaves the bars as they are.
    pub(super) fn close(&mut self) {
        self.bars.drain(..).for_each(|bar| bar.abandon());
    }
}

fn identity(release: &Release) -> String {
    let shape: Vec<String> = release.groups.iter().map(|g| format!("{}{:?}", g.name, g.cells)).collect();
    format!("{} {}", release.update_revision, shape.join(" "))
}

fn word(phase: &str) -> &str {
    match phase {
        "WaitingForConfirmation" => "waits for confirmation:",
        "Done" => "done:",
        "Running" => "running:",
        _ => "planned:",
    }
}

/// The cells, and what a person can do: under the bars.
pub(super) fn below(focus: &Focus, release: &Release, p: &Progress, waits: &[Wait], now: Time) -> String {
    let cells: Vec<String> = release
        .cells
        .iter()
        .map(|c| {
            let lost = if c.lost { " lost" } else { "" };
            format!("{} {}/{} available, {} updated{lost}", c.name, c.available, c.replicas, c.updated)
        })
        .collect();
    let why = match (&release.waits_for, &p.stage) {
        (_, Stage::Done) => String::new(),
        (Some(w), _) => {
            let since = w.since.filter(|t| now > *t).map(|t| view::human_duration(now.since(t)));
            format!("{}{}", w.message, since.map_or(String::new(), |s| format!(" for {s}")))
        }
        (None, _) => reason(p, waits),
    };
    let at = crate::words::namespace_flag(&focus.namespace);
    let way = match &p.stage {
        _ if release.unconfirmed().is_some() => {
            Some(format!("to go on: knarr release confirm {}{at}", focus.name))
        }
        Stage::Paused => Some(format!("to go on: knarr release continue {}{at}", focus.name)),
        Stage::Failed(_) => Some(format!("to go back: knarr release abort {}{at}", focus.name)),
        _ => None,
    };
    let parts = [cells.join("; "), why].into_iter().chain(way);
    parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" | ")
}

/// The whole release in one line, where there is no terminal.
pub(super) fn line(release: &Release, below: &str) -> String {
    let groups: Vec<String> = release
        .groups
        .iter()
        .map(|g| format!("{} [{}] {}/{}", g.name, view::bar(g.done(), g.pods(), 10), g.done(), g.pods()))
        .collect();
    [groups.join(" "), below.to_owned()].into_iter().filter(|p| !p.is_empty()).collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use api_meta::Resource;
    use serde_json::json;

    #[test]
    fn a_release_in_one_line_tells_groups_cells_and_how_to_go_on() {
        let cafe = json!({"kind": "CafeDeployment", "metadata": {"generation": 1}, "spec": {"replicas": 6}, "status": {
            "observedGeneration": 1, "phase": "WaitingForConfirmation", "updateRevision": "web-2",
            "groups": [{"name": "beta", "phase": "WaitingForConfirmation", "updated": 2, "ready": 2, "cells": [{"name": "A", "pods": 1}, {"name": "B", "pods": 1}]},
                {"name": "group-1", "phase": "Planned", "cells": [{"name": "A", "pods": 2}, {"name": "B", "pods": 2}]}],
            "cells": [{"name": "A", "replicas": 3, "available": 3, "updated": 1}, {"name": "B", "replicas": 3, "available": 3, "updated": 1}],
            "waitsFor": {"message": "group beta is done", "since": "1970-01-01T00:00:10Z"}}});
        let focus = Focus {
            resource: Resource::namespaced(
                "apps.cafe.cloud.alipay.com",
                "v1alpha1",
                "cafedeployments",
                "CafeDeployment",
            ),
            namespace: "shop".into(),
            name: "web".into(),
        };
        let release = view::release(&cafe).unwrap();
        let progress = view::progress(&cafe).unwrap();
        let below = below(&focus, &release, &progress, &[], Time::from_secs(22));
        assert_eq!(
            line(&release, &below),
            "beta [##########] 2/2 group-1 [----------] 0/4 | A 3/3 available, 1 updated; B 3/3 available, 1 updated \
             | group beta is done for 12s | to go on: knarr release confirm web -n shop"
        );
    }
}
