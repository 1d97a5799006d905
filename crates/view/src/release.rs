//! A release by cells and groups, as the status of a CafeDeployment tells it.

use serde::Serialize;
use serde_json::Value;
use stdx::Time;

use crate::{Progress, Stage, Table, bar, human_duration};

/// Annotation by which a person lets the next group begin.
pub const CONFIRMED: &str = "cafe.sofastack.io/upgrade-confirmed";

/// How far a release has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Release {
    /// `Stable`, `RollingOut`, `WaitingForConfirmation`, `Paused`, `RollingBack` or `Held`.
    pub phase: String,
    /// Revision that all pods had last.
    pub current_revision: String,
    /// Revision the pods go to.
    pub update_revision: String,
    /// Groups, in order.
    pub groups: Vec<Group>,
    /// Cells, in the order of the spec.
    pub cells: Vec<Cell>,
    /// What is waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<WaitsFor>,
}

/// Pods that go together.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// Place in the order, from 0.
    pub index: i64,
    /// `beta`, `group-1`.
    pub name: String,
    /// `Planned`, `Running`, `WaitingForConfirmation` or `Done`.
    pub phase: String,
    /// Pods by cell.
    #[serde(serialize_with = "crate::forecast::shares")]
    pub cells: Vec<(String, i64)>,
    /// Of these, at the new revision.
    pub updated: i64,
    /// Of these, ready.
    pub ready: i64,
    /// When its first pod was touched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When its last pod was ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Time>,
}

/// The pods of one cell.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cell {
    /// Its name.
    pub name: String,
    /// Its pod set.
    pub pod_set: String,
    /// Pods wanted.
    pub replicas: i64,
    /// Pods there are.
    pub current: i64,
    /// Ready pods.
    pub ready: i64,
    /// Available pods.
    pub available: i64,
    /// Pods at the new revision.
    pub updated: i64,
    /// Of these, available.
    pub updated_available: i64,
    /// Fewest available pods that a step may leave.
    pub min_available: i64,
    /// Whether its nodes are gone.
    pub lost: bool,
}

/// What a release waits for.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WaitsFor {
    /// One CamelCase word.
    pub reason: String,
    /// A sentence.
    pub message: String,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}

impl Group {
    /// `group beta`, `group-1`.
    pub fn title(&self) -> String {
        if self.name.starts_with("group") { self.name.clone() } else { format!("group {}", self.name) }
    }

    /// How many pods it has.
    pub fn pods(&self) -> i64 {
        self.cells.iter().map(|(_, pods)| pods).sum()
    }

    /// How many of its pods are through.
    pub fn done(&self) -> i64 {
        if self.phase == "Done" { self.pods() } else { self.ready.min(self.updated).clamp(0, self.pods()) }
    }
}

/// The release of an object; nothing for kinds that are not released by groups.
pub fn release(object: &Value) -> Option<Release> {
    if object["kind"] != "CafeDeployment" {
        return None;
    }
    let status = &object["status"];
    let list = |name: &str| status[name].as_array().into_iter().flatten();
    let waits = &status["waitsFor"];
    Some(Release {
        phase: text(status, "phase"),
        current_revision: text(status, "currentRevision"),
        update_revision: text(status, "updateRevision"),
        groups: list("groups").map(group).collect(),
        cells: list("cells").map(cell).collect(),
        waits_for: waits.is_object().then(|| WaitsFor {
            reason: text(waits, "reason"),
            message: text(waits, "message"),
            since: time(waits, "since"),
        }),
    })
}

fn group(g: &Value) -> Group {
    let pods =
        |c: &Value| c["pods"].as_i64().unwrap_or_else(|| c["pods"].as_array().map_or(0, |p| length(p)));
    Group {
        index: count(g, "index"),
        name: text(g, "name"),
        phase: text(g, "phase"),
        cells: g["cells"].as_array().into_iter().flatten().map(|c| (text(c, "name"), pods(c))).collect(),
        updated: count(g, "updated"),
        ready: count(g, "ready"),
        started_at: time(g, "startedAt"),
        finished_at: time(g, "finishedAt"),
    }
}

fn cell(c: &Value) -> Cell {
    Cell {
        name: text(c, "name"),
        pod_set: text(c, "podSet"),
        replicas: count(c, "replicas"),
        current: count(c, "current"),
        ready: count(c, "ready"),
        available: count(c, "available"),
        updated: count(c, "updated"),
        updated_available: count(c, "updatedAvailable"),
        min_available: count(c, "minAvailable"),
        lost: c["lost"] == true,
    }
}

fn length(list: &[Value]) -> i64 {
    i64::try_from(list.len()).unwrap_or(i64::MAX)
}

fn text(at: &Value, name: &str) -> String {
    at[name].as_str().unwrap_or_default().to_owned()
}

fn count(at: &Value, name: &str) -> i64 {
    at[name].as_i64().unwrap_or(0)
}

fn time(at: &Value, name: &str) -> Option<Time> {
    at[name].as_str()?.parse().ok()
}

impl Release {
    /// The group that runs, waits, or comes next; nothing when all are done.
    pub fn current(&self) -> Option<&Group> {
        self.groups.iter().find(|g| g.phase != "Done")
    }

    /// The group whose end waits for a person.
    pub fn unconfirmed(&self) -> Option<&Group> {
        if self.phase != "WaitingForConfirmation" {
            return None;
        }
        let waiting = self.groups.iter().find(|g| g.phase == "WaitingForConfirmation");
        waiting.or_else(|| self.groups.iter().rfind(|g| g.phase == "Done"))
    }

    /// The table of groups: how many pods of each cell go together, and how far each group is.
    pub fn group_table(&self, now: Time) -> Table {
        let cells = self.cell_names();
        let mut table = Table::default();
        let head = ["GROUP"].into_iter().chain(cells.iter().copied());
        table.head = head.chain(["PODS", "PHASE", "DONE", "TOOK"]).map(str::to_owned).collect();
        for g in &self.groups {
            let of = |cell: &&str| g.cells.iter().find(|(name, _)| name == cell).map_or(0, |(_, n)| *n);
            let mut row = vec![g.name.clone()];
            row.extend(cells.iter().map(|cell| of(cell).to_string()));
            row.push(g.pods().to_string());
            row.push(g.phase.clone());
            row.push(format!("[{}] {}/{}", bar(g.done(), g.pods(), 10), g.done(), g.pods()));
            row.push(
                g.started_at
                    .map_or(String::new(), |from| human_duration(g.finished_at.unwrap_or(now).since(from))),
            );
            table.row(row);
        }
        table
    }

    /// The table of cells; with the pod sets and all counts when `wide`.
    pub fn cell_table(&self, wide: bool) -> Table {
        let mut head = vec!["CELL", "WANTED", "UPDATED", "AVAILABLE", "MINIMUM", "STATE"];
        if wide {
            head.extend(["POD-SET", "CURRENT", "READY", "UPDATED-AVAILABLE"]);
        }
        let mut table = Table::new(&head);
        for c in &self.cells {
            let counts = [c.replicas, c.updated, c.available, c.min_available];
            let mut row = vec![c.name.clone()];
            row.extend(counts.map(|n| n.to_string()));
            row.push(c.state().to_owned());
            if wide {
                row.push(c.pod_set.clone());
                row.extend([c.current, c.ready, c.updated_available].map(|n| n.to_string()));
            }
            table.row(row);
        }
        table
    }

    /// Cells in the order of the status; those that only groups name come after.
    fn cell_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.cells.iter().map(|c| c.name.as_str()).collect();
        for (name, _) in self.groups.iter().flat_map(|g| &g.cells) {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        names
    }

    /// What it amounts to.
    pub(crate) fn stage(&self, p: &Progress) -> Stage {
        let said = self.waits_for.as_ref().map(|w| w.message.clone()).filter(|m| !m.is_empty());
        match self.phase.as_str() {
            "Stable" if p.updated_available >= p.desired => Stage::Done,
            "Stable" => Stage::Rolling(format!("{} of {} pods are available", p.available, p.desired)),
            "Paused" => Stage::Paused,
            "WaitingForConfirmation" => Stage::Rolling(match self.unconfirmed() {
                Some(g) => format!("{} is done and waits for confirmation", g.title()),
                None => "waits for confirmation".to_owned(),
            }),
            "Held" => Stage::Failed(said.unwrap_or_else(|| "held".to_owned())),
            phase => {
                let back = if phase == "RollingBack" { "rolling back: " } else { "" };
                let doing = match self.current() {
                    Some(g) => format!("{}: {} of {} pods are through", g.title(), g.done(), g.pods()),
                    None => format!("{} of {} pods are updated", p.updated, p.desired),
                };
                Stage::Rolling(format!("{back}{}", said.unwrap_or(doing)))
            }
        }
    }
}

impl Cell {
    fn state(&self) -> &'static str {
        if self.lost {
            "lost"
        } else if self.available < self.min_available {
            "below minimum"
        } else if self.available < self.replicas {
            "short"
        } else {
            "well"
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use expect_test::expect;
    use serde_json::json;

    pub(crate) fn cafe() -> Value {
        json!({"kind": "CafeDeployment", "metadata": {"name": "web", "generation": 2}, "spec": {"replicas": 10}, "status": {
            "observedGeneration": 2, "phase": "WaitingForConfirmation", "replicas": 10, "readyReplicas": 10,
            "availableReplicas": 9, "updatedReplicas": 2, "updatedAvailableReplicas": 2,
            "currentRevision": "web-1", "updateRevision": "web-2",
            "groups": [
                {"index": 0, "name": "beta", "phase": "WaitingForConfirmation", "updated": 2, "ready": 2,
                 "startedAt": "1970-01-01T00:10:00Z", "finishedAt": "1970-01-01T00:10:12Z",
                 "cells": [{"name": "CellA", "pods": 1}, {"name": "CellB", "pods": 1}]},
                {"index": 1, "name": "group-1", "phase": "Planned", "cells": [{"name": "CellA", "pods": 2}, {"name": "CellB", "pods": 2}]},
                {"index": 2, "name": "group-2", "phase": "Planned", "cells": [{"name": "CellA", "pods": 2}, {"name": "CellB", "pods": 2}]}],
            "cells": [
                {"name": "CellA", "podSet": "web-cella", "replicas": 5, "current": 5, "ready": 5, "available": 5, "updated": 1, "updatedAvailable": 1, "minAvailable": 4},
                {"name": "CellB", "podSet": "web-cellb", "replicas": 5, "current": 5, "ready": 5, "available": 4, "updated": 1, "updatedAvailable": 1, "minAvailable": 4}],
            "waitsFor": {"reason": "WaitingForConfirmation", "message": "group beta is done", "since": "1970-01-01T00:10:12Z"}}})
    }

    #[test]
    fn the_tables_show_groups_by_cells_and_how_each_cell_stands() {
        let release = release(&cafe()).unwrap();
        expect![[r#"
            GROUP     CellA   CellB   PODS   PHASE                    DONE               TOOK
            beta      1       1       2      WaitingForConfirmation   [##########] 2/2   12s
            group-1   2       2       4      Planned                  [----------] 0/4
            group-2   2       2       4      Planned                  [----------] 0/4
        "#]]
        .assert_eq(&release.group_table(Time::from_secs(700)).text());
        expect![[r#"
            CELL    WANTED   UPDATED   AVAILABLE   MINIMUM   STATE
            CellA   5        1         5           4         well
            CellB   5        1         4           4         short
        "#]]
        .assert_eq(&release.cell_table(false).text());
        assert_eq!(release.unconfirmed().map(|g| g.name.as_str()), Some("beta"));
    }

    #[test]
    fn only_kinds_that_are_released_by_groups_have_a_release() {
        assert_eq!(release(&json!({"kind": "Deployment"})), None);
    }
}
