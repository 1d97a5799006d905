//! Decision logs: every decision made once more by the same core, under the same rules or others.
//!
//! Each decision is made in the state in which it was made, whatever was decided anew before it: differences are those of single
//! decisions and do not grow out of one another. What is absent: files (the caller unpacks and reads them), and rules whose state is
//! not in the log.

use std::collections::BTreeMap;

use sched_core::{Choice, Decided, Entry, LOG_KIND, LOG_VERSION, Replayer};
use sched_plugins::{Configuration, Engine, Profile, Rules};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use stdx::Time;
use view::Table;

use crate::text::{Misread, Source};

/// Name of the scheduler's own profile, which has upstream's rules.
const OURS: &str = "knarr";
/// Differences kept word by word; the others are counted.
const DIFFERENCES_MAX: usize = 1000;

/// What replaying a log gave.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LogReport {
    /// The log.
    pub log: String,
    /// By whose rules: `as logged`, or the name of a configuration.
    pub policy: String,
    /// Decisions read.
    pub decisions: usize,
    /// Those that came out alike to the last score and count.
    pub identical: usize,
    /// Those with the same outcome, but other scores or reasons.
    pub reworded: usize,
    /// Those with another outcome.
    pub different: usize,
    /// Decisions whose pod names a profile that these rules do not have; not replayed.
    pub unknown: usize,
    /// Decisions in which rules had a say whose state is not in the log (CPUs, devices, load, volumes); not compared.
    pub beside: usize,
    /// Lines that the scheduler had to drop.
    pub lost: u64,
    /// The differences, in the order of the log; at most 1000.
    pub differences: Vec<LogDifference>,
    /// Decisions about the pod asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub about: Vec<Told>,
}

/// One decision that came out otherwise.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LogDifference {
    /// When it was made, in microseconds since 1970.
    pub at: i64,
    /// `namespace/name`.
    pub pod: String,
    /// As logged.
    pub was: Choice,
    /// As it comes out now.
    pub is: Choice,
}

/// A logged decision.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// When, in microseconds since 1970.
    pub at: i64,
    /// State of the snapshot.
    pub generation: u64,
    /// What was decided.
    pub choice: Choice,
}

/// How to replay.
#[derive(Clone, Debug, Default)]
pub struct LogSettings<'a> {
    /// Other rules than those in the log: a name and profiles.
    pub policy: Option<(&'a str, &'a [Profile])>,
    /// `namespace/name` of a pod whose decisions are to be told.
    pub about: Option<&'a str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    api_version: String,
    kind: String,
    configuration: Option<Value>,
}

/// Replays a decision log.
///
/// # Errors
/// The first line that cannot be used.
pub fn replay(source: Source<'_>, settings: &LogSettings<'_>) -> Result<LogReport, Misread> {
    let mut lines = source.text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty());
    let head = lines.next().map_or("", |(_, text)| text);
    let logged = read_head(source, head)?;
    let profiles = settings.policy.map_or(&logged[..], |(_, profiles)| profiles);
    let policy = settings.policy.map_or("as logged", |(name, _)| name);
    let mut bench = Bench {
        profiles,
        engines: BTreeMap::new(),
        replayer: Replayer::default(),
        about: settings.about,
        report: LogReport { log: source.name.to_owned(), policy: policy.to_owned(), ..LogReport::default() },
    };
    let last = source.text.lines().count();
    for (at, text) in lines {
        match serde_json::from_str::<Entry>(text) {
            Ok(entry) => bench.take(entry),
            // A scheduler that was killed leaves half a line.
            Err(error) if error.is_eof() && at + 1 == last => {}
            Err(error) => return Err(source.misread(at + 1, "", error.to_string())),
        }
    }
    Ok(bench.report)
}

fn read_head(source: Source<'_>, text: &str) -> Result<Vec<Profile>, Misread> {
    let head: Head = serde_json::from_str(text).map_err(|e| {
        source.misread(1, "", format!("is no head of a decision log, as `--decision-log` writes it: {e}"))
    })?;
    if (head.api_version.as_str(), head.kind.as_str()) != (LOG_VERSION, LOG_KIND) {
        let why = format!("is {} {}: expected {LOG_VERSION} {LOG_KIND}", head.api_version, head.kind);
        return Err(source.misread(1, "apiVersion", why));
    }
    let mut profiles = match head.configuration {
        None => vec![Profile { name: "default-scheduler".to_owned(), rules: Rules::upstream() }],
        Some(configuration) => {
            let read = Configuration::read(&configuration);
            read.map_err(|e| source.misread(1, "configuration", e.to_string()))?.profiles
        }
    };
    // The scheduler's own profile is always there.
    if profiles.iter().all(|p| p.name != OURS) {
        profiles.push(Profile { name: OURS.to_owned(), rules: Rules::upstream() });
    }
    Ok(profiles)
}

/// Rules, state and what came out so far.
struct Bench<'a> {
    profiles: &'a [Profile],
    /// By the name of the profile.
    engines: BTreeMap<String, Engine>,
    replayer: Replayer,
    about: Option<&'a str>,
    report: LogReport,
}

impl Bench<'_> {
    fn take(&mut self, entry: Entry) {
        if let Entry::Begin { lost } = &entry {
            self.report.lost += lost;
            // An engine follows one snapshot; this is another.
            self.engines.clear();
        }
        if let Some(decided) = self.replayer.take(entry) {
            self.report.decisions += 1;
            self.judge(*decided);
        }
    }

    fn judge(&mut self, decided: Decided) {
        let Decided { at, generation, pod, choice } = decided;
        let name = pod.key().to_string();
        if self.about == Some(&name) {
            self.report.about.push(Told { at, generation, choice: choice.clone() });
        }
        let Some(profile) = self.profiles.iter().find(|p| *p.name == *pod.scheduler) else {
            self.report.unknown += 1;
            return;
        };
        let engine = self.engines.entry(profile.name.clone()).or_insert_with(|| profile.rules.engine());
        let is = Choice::of(&engine.decide(&mut self.replayer.snapshot, &pod));
        let report = &mut self.report;
        if has_others(&choice) || has_others(&is) {
            report.beside += 1;
            return;
        }
        if is == choice {
            report.identical += 1;
        } else if is.node() == choice.node() {
            report.reworded += 1;
        } else {
            report.different += 1;
            if report.differences.len() < DIFFERENCES_MAX {
                report.differences.push(LogDifference { at, pod: name, was: choice, is });
            }
        }
    }
}

/// kube-scheduler's rules that read nothing but what the log has; those of volumes read claims and volumes too.
const BUILT_IN: [&str; 10] = [
    "NodeUnschedulable",
    "NodeName",
    "TaintToleration",
    "NodeAffinity",
    "NodePorts",
    "NodeResourcesFit",
    "PodTopologySpread",
    "InterPodAffinity",
    "ImageLocality",
    "NodeResourcesBalancedAllocation",
];

/// How a rule of volumes begins when it refuses before any node is looked at.
const CLAIM: &str = "persistentvolumeclaim";

/// Whether rules beside the built-in ones had a say.
fn has_others(choice: &Choice) -> bool {
    let is_other = |rule: &str| !BUILT_IN.contains(&rule);
    match choice {
        Choice::Node { scores, .. } => scores.iter().any(|(rule, _)| is_other(rule)),
        Choice::Refused { groups, upfront, .. } => {
            groups.iter().any(|(rule, ..)| is_other(rule))
                || upfront.as_ref().is_some_and(|reason| reason.contains(CLAIM))
        }
    }
}

impl LogReport {
    /// The report for people.
    pub fn text(&self) -> String {
        let lost = if self.lost == 0 { String::new() } else { format!(", {} lines were dropped", self.lost) };
        let unknown = match self.unknown {
            0 => String::new(),
            n => format!(", {n} of profiles that are not here"),
        };
        let unknown = match self.beside {
            0 => unknown,
            n => format!("{unknown}, {n} with rules whose state is not in the log"),
        };
        let mut out = format!(
            "{}, {}: {} decisions, {} identical, {} with other scores or reasons, {} with another outcome{unknown}{lost}\n",
            self.log, self.policy, self.decisions, self.identical, self.reworded, self.different
        );
        if !self.differences.is_empty() {
            let mut table = Table::new(&["AT", "POD", "WAS", "IS", "BECAUSE"]);
            for d in &self.differences {
                table.row([time(d.at), d.pod.clone(), outcome(&d.was), outcome(&d.is), because(d)]);
            }
            out += &table.text();
        }
        if !self.about.is_empty() {
            let mut table = Table::new(&["AT", "STATE", "CHOICE", "WHY"]);
            for told in &self.about {
                table.row([
                    time(told.at),
                    told.generation.to_string(),
                    outcome(&told.choice),
                    why(&told.choice),
                ]);
            }
            out += &table.text();
        }
        out
    }
}

fn time(micros: i64) -> String {
    Time::from_micros(micros).to_string()
}

fn outcome(choice: &Choice) -> String {
    choice.node().unwrap_or("-").to_owned()
}

/// Scores of a placement, reasons of a refusal.
fn why(choice: &Choice) -> String {
    match choice {
        Choice::Node { score, scores, feasible, nodes, .. } => {
            let parts: Vec<String> = scores.iter().map(|(rule, score)| format!("{rule} {score}")).collect();
            format!("{score} of {feasible}/{nodes} nodes ({})", parts.join(", "))
        }
        Choice::Refused { upfront: Some(reason), .. } => reason.clone(),
        Choice::Refused { groups, .. } => {
            let parts: Vec<String> = groups
                .iter()
                .map(|(_, reasons, nodes)| format!("{nodes} {}", reasons.join(" and ")))
                .collect();
            parts.join(", ")
        }
    }
}

/// Where both chose a node: the rules whose scores differ.
fn because(difference: &LogDifference) -> String {
    let (Choice::Node { scores: was, .. }, Choice::Node { scores: is, .. }) =
        (&difference.was, &difference.is)
    else {
        return why(&difference.is);
    };
    let mut rules: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
    was.iter().for_each(|(rule, score)| rules.entry(rule).or_default().0 = *score);
    is.iter().for_each(|(rule, score)| rules.entry(rule).or_default().1 = *score);
    let changed = rules.iter().filter(|(_, (was, is))| was != is);
    changed.map(|(rule, (was, is))| format!("{rule} {was} -> {is}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sched_core::{Decision, Interner, NodeFact, PodFact, Snapshot};
    use serde_json::json;

    use super::*;

    fn node(name: &str, cpu: &str) -> NodeFact {
        let json = json!({"metadata": {"name": name, "labels": {"zone": name}}, "status": {"allocatable": {"cpu": cpu, "memory": "8Gi", "pods": "100"}}});
        NodeFact::of(&serde_json::from_value(json).unwrap())
    }

    fn pod(interner: &mut Interner, name: &str, cpu: &str) -> Arc<PodFact> {
        let json = json!({"metadata": {"name": name, "namespace": "d", "uid": name, "labels": {"app": "x"}},
            "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}});
        Arc::new(interner.project(&serde_json::from_value(json).unwrap()))
    }

    /// A scheduler's life as it would be logged: pods come, go, and find no place; nodes shrink and leave.
    fn log(rules: &Rules) -> String {
        let (mut snapshot, mut engine, mut interner) = (Snapshot::new(), rules.engine(), Interner::default());
        snapshot.keep_journal();
        for i in 0..5 {
            snapshot.set_node(node(&format!("n{i}"), "4"));
        }
        for i in 0..40 {
            let pod = pod(&mut interner, &format!("p{i}"), ["300m", "700m", "1200m"][i % 3]);
            let decision = engine.decide(&mut snapshot, &pod);
            snapshot.note_decision(&pod, &decision, Time::from_secs(i as i64));
            if let Decision::Bind(placement) = decision {
                snapshot.assume(pod, &placement.node);
            }
            match i {
                10 => {
                    snapshot.remove("p3");
                }
                20 => {
                    snapshot.set_node(node("n1", "1"));
                }
                25 => snapshot.drop_node("n2"),
                _ => {}
            }
        }
        let head = json!({"apiVersion": LOG_VERSION, "kind": LOG_KIND, "configuration": null});
        let lines = snapshot.take_journal().into_iter().map(|e| serde_json::to_string(&e).unwrap() + "\n");
        format!("{head}\n") + &lines.collect::<String>()
    }

    fn source(text: &str) -> Source<'_> {
        Source { name: "log", text }
    }

    #[test]
    fn the_same_rules_decide_identically_once_more() {
        let text = log(&Rules::upstream());
        let report = replay(source(&text), &LogSettings::default()).unwrap();
        assert_eq!((report.decisions, report.identical), (40, 40), "{report:#?}");
        assert!(text.contains("refused"), "some pods found no place");
    }

    #[test]
    fn other_rules_say_where_they_would_have_chosen_otherwise_and_why() {
        let text = log(&Rules::upstream());
        let mut rules = Rules::upstream();
        rules.weights = sched_plugins::Weights::none();
        let other = [Profile { name: "default-scheduler".to_owned(), rules }];
        let settings = LogSettings { policy: Some(("unweighted", &other)), about: Some("d/p0") };
        let report = replay(source(&text), &settings).unwrap();
        assert!(
            report.different > 0 && report.identical + report.reworded + report.different == 40,
            "{report:#?}"
        );
        let told = report.text();
        assert!(told.starts_with("log, unweighted: 40 decisions"), "{told}");
        assert!(told.contains("NodeResourcesFit") && told.contains(" -> 0"), "{told}");
        assert_eq!(report.about.len(), 1);
        let nobody = [Profile { name: "other".to_owned(), rules: Rules::upstream() }];
        let settings = LogSettings { policy: Some(("other", &nobody)), about: None };
        assert_eq!(replay(source(&text), &settings).unwrap().unknown, 40);
    }

    #[test]
    fn a_gap_is_told_and_half_a_last_line_is_forgiven() {
        let text = log(&Rules::upstream());
        let cut = &text[..text.len() - 20];
        assert!(replay(source(cut), &LogSettings::default()).is_ok());
        let gap = format!("{text}{}\n", serde_json::to_string(&Entry::Begin { lost: 7 }).unwrap());
        let report = replay(source(&gap), &LogSettings::default()).unwrap();
        assert!(report.text().contains("7 lines were dropped"));
        let told = |text: &str| replay(source(text), &LogSettings::default()).unwrap_err().to_string();
        assert!(told("").starts_with("log:1: is no head of a decision log"));
        assert!(told(&text.replacen("DecisionLog", "Other", 1)).starts_with("log:1: apiVersion"));
        assert!(told(&text.replacen("{\"node\"", "{\"nod\"", 1)).starts_with("log:2: "));
    }
}
