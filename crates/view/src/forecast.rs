//! What applying a manifest would do, before anything moves.

use serde::{Serialize, Serializer};

use crate::{Group, Reason, Release, Table};

/// The foreseen course of one object.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Forecast {
    /// `cloneset.apps.kruise.io/web`.
    pub object: String,
    /// Its namespace; empty for cluster-wide objects.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// `created`, `configured` or `unchanged`.
    pub change: String,
    /// Fields that change: `spec.replicas: 3 -> 5`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// Groups of its release, as its controller cuts them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Group>,
    /// What happens to pods, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// How far availability sinks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub availability: Vec<Low>,
    /// What it means for Services.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ServiceEffect>,
    /// When a person is asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub confirmations: Vec<String>,
    /// What would be held back, and by which rule.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<Reason>,
    /// Whether it comes to its end.
    pub finishes: bool,
    /// How it ends, in one sentence.
    pub end: String,
}

/// Pods that are touched at the same moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// From 1.
    pub number: usize,
    /// The group it belongs to; empty where there are none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// What happens to the pods.
    pub deed: Fate,
    /// Their names; those of pods to be created are made up.
    pub pods: Vec<String>,
    /// Pods by cell.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "shares")]
    pub cells: Vec<(String, i64)>,
}

/// What becomes of a pod, from the least to the gravest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Fate {
    /// It is created.
    Create,
    /// It gets new labels or annotations; its containers go on.
    #[default]
    Relabel,
    /// It leaves traffic, and nothing else.
    LeaveTraffic,
    /// Its containers are replaced in place: same name, address and node.
    Restart,
    /// It is deleted, and another takes its place.
    Recreate,
    /// It is deleted.
    Delete,
}

/// The lowest point of the available pods of a cell.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Low {
    /// The cell; empty for all pods together.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cell: String,
    /// Available before anything moves.
    pub now: i64,
    /// Fewest on the way.
    pub lowest: i64,
    /// Fewest that the workload's own rules allow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum: Option<i64>,
    /// Available in the end.
    pub end: i64,
}

/// What happens to the endpoints of a Service.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceEffect {
    /// Its name.
    pub service: String,
    /// Ready endpoints before anything moves.
    pub now: i64,
    /// Fewest on the way.
    pub lowest: i64,
    /// Ready endpoints in the end.
    pub end: i64,
    /// Pods that leave its traffic for a while or for good.
    pub leave: usize,
    /// Of these, how many leave by their readiness gate, and are drained, before they are disturbed: the others are cut off.
    pub drained: usize,
}

/// Pods named in a line; the rest is counted.
const PODS_SHOWN: usize = 6;
/// Steps shown; the rest is counted.
const STEPS_SHOWN: usize = 40;
/// Fields shown; the rest is counted.
const FIELDS_SHOWN: usize = 20;

impl Fate {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Fate::Create => "create",
            Fate::Relabel => "relabel (no restart)",
            Fate::Restart => "restart in place",
            Fate::LeaveTraffic => "leave traffic",
            Fate::Recreate => "delete to make anew",
            Fate::Delete => "delete",
        }
    }
}

impl Forecast {
    /// The forecast as a page.
    pub fn text(&self) -> String {
        let place = if self.namespace.is_empty() { String::new() } else { format!(" in {}", self.namespace) };
        let mut out = format!("{}{place}: would be {}\n", self.object, self.change);
        out += &lines("Changes", &capped(&self.fields, FIELDS_SHOWN, "fields"));
        if !self.groups.is_empty() {
            out += &block("Groups", &self.group_table());
        }
        if !self.steps.is_empty() {
            out += &block("Steps", &self.step_table());
        }
        if !self.availability.is_empty() {
            out += &block("Available pods", &self.low_table());
        }
        if !self.services.is_empty() {
            out += &block("Services", &self.service_table());
        }
        out += &lines("Confirmations", &self.confirmations);
        let held: Vec<String> =
            self.held.iter().map(|r| format!("{} ({}, by {})", r.message, r.reason, r.by)).collect();
        out += &lines("Held", &held);
        out + &format!("  End: {}\n", self.end)
    }

    fn group_table(&self) -> Table {
        let release = Release { groups: self.groups.clone(), ..Release::default() };
        let table = release.group_table(stdx::Time::from_secs(0));
        // Nothing of it has happened: only name, cells and sum are of interest.
        let shown = table.head.len().saturating_sub(3);
        let cut = |row: &Vec<String>| row.iter().take(shown).cloned().collect();
        Table { head: cut(&table.head), rows: table.rows.iter().map(cut).collect() }
    }

    fn step_table(&self) -> Table {
        let grouped = self.steps.iter().any(|s| !s.group.is_empty());
        let celled = self.steps.iter().any(|s| s.cells.iter().any(|(cell, _)| !cell.is_empty()));
        let mut head = vec!["STEP"];
        head.extend(grouped.then_some("GROUP"));
        head.push("DOES");
        head.extend(celled.then_some("CELLS"));
        head.push("PODS");
        let mut table = Table::new(&head);
        for step in self.steps.iter().take(STEPS_SHOWN) {
            let mut row = vec![step.number.to_string()];
            row.extend(grouped.then(|| step.group.clone()));
            row.push(format!("{} {}", step.deed.word(), step.pods.len()));
            row.extend(celled.then(|| {
                step.cells.iter().map(|(cell, n)| format!("{cell} {n}")).collect::<Vec<_>>().join(", ")
            }));
            row.push(match step.deed {
                Fate::Create => String::new(),
                _ => listed(&step.pods),
            });
            table.row(row);
        }
        let more = self.steps.len().saturating_sub(STEPS_SHOWN);
        if more > 0 {
            table.row(["…".to_owned(), format!("{more} further steps")]);
        }
        table
    }

    fn low_table(&self) -> Table {
        let mut table = Table::new(&["CELL", "NOW", "LOWEST", "MINIMUM", "END"]);
        for low in &self.availability {
            let cell = if low.cell.is_empty() { "all" } else { &low.cell };
            let minimum = low.minimum.map_or("-".to_owned(), |m| m.to_string());
            table.row([
                cell.to_owned(),
                low.now.to_string(),
                low.lowest.to_string(),
                minimum,
                low.end.to_string(),
            ]);
        }
        table
    }

    fn service_table(&self) -> Table {
        let mut table = Table::new(&["SERVICE", "READY NOW", "LOWEST", "END", "PODS LEAVE TRAFFIC"]);
        for s in &self.services {
            let leave = match (s.leave, s.drained) {
                (0, _) => "none".to_owned(),
                (n, d) if n == d => format!("{n}, each by its gate first"),
                (n, d) => format!("{n}, of which {} are cut off while they serve", n - d),
            };
            table.row([s.service.clone(), s.now.to_string(), s.lowest.to_string(), s.end.to_string(), leave]);
        }
        table
    }
}

/// Pods by cell as `[{"name": CELL, "pods": N}]`.
pub(crate) fn shares<S: Serializer>(cells: &[(String, i64)], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(cells.iter().map(|(name, pods)| serde_json::json!({"name": name, "pods": pods})))
}

fn lines(head: &str, all: &[String]) -> String {
    if all.is_empty() {
        return String::new();
    }
    let body: String = all.iter().map(|line| format!("    {line}\n")).collect();
    format!("  {head}:\n{body}")
}

fn block(head: &str, table: &Table) -> String {
    let body: Vec<String> = table.text().lines().map(str::to_owned).collect();
    lines(head, &body)
}

fn capped(all: &[String], most: usize, what: &str) -> Vec<String> {
    let mut out: Vec<String> = all.iter().take(most).cloned().collect();
    let more = all.len().saturating_sub(most);
    out.extend((more > 0).then(|| format!("and {more} further {what}")));
    out
}

fn listed(names: &[String]) -> String {
    let shown = names.iter().take(PODS_SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(PODS_SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn a_forecast_shows_groups_steps_lows_and_services() {
        let pods = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        let cells = |a: i64, b: i64| vec![("CellA".to_owned(), a), ("CellB".to_owned(), b)];
        let forecast = Forecast {
            object: "cafedeployment.apps.cafe.cloud.alipay.com/web".into(),
            namespace: "shop".into(),
            change: "configured".into(),
            fields: vec!["spec.template.spec.containers[main].image: web:1 -> web:2".into()],
            groups: vec![Group {
                name: "beta".into(),
                cells: vec![("CellA".into(), 1), ("CellB".into(), 1)],
                ..Group::default()
            }],
            steps: vec![Step {
                number: 1,
                group: "beta".into(),
                deed: Fate::Restart,
                pods: pods(&["web-a", "web-b"]),
                cells: cells(1, 1),
            }],
            availability: vec![Low { cell: "CellA".into(), now: 5, lowest: 4, minimum: Some(3), end: 5 }],
            services: vec![ServiceEffect {
                service: "web".into(),
                now: 10,
                lowest: 8,
                end: 10,
                leave: 2,
                drained: 2,
            }],
            confirmations: vec!["after group beta: knarr release confirm web -n shop".into()],
            held: Vec::new(),
            finishes: true,
            end: "10 of 10 pods are at web-2 and available".into(),
        };
        expect![[r#"
            cafedeployment.apps.cafe.cloud.alipay.com/web in shop: would be configured
              Changes:
                spec.template.spec.containers[main].image: web:1 -> web:2
              Groups:
                GROUP   CellA   CellB   PODS
                beta    1       1       2
              Steps:
                STEP   GROUP   DOES                 CELLS              PODS
                1      beta    restart in place 2   CellA 1, CellB 1   web-a, web-b
              Available pods:
                CELL    NOW   LOWEST   MINIMUM   END
                CellA   5     4        3         5
              Services:
                SERVICE   READY NOW   LOWEST   END   PODS LEAVE TRAFFIC
                web       10          8        10    2, each by its gate first
              Confirmations:
                after group beta: knarr release confirm web -n shop
              End: 10 of 10 pods are at web-2 and available
        "#]]
        .assert_eq(&forecast.text());
    }
}
