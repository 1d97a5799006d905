//! PodSecurity: the levels `baseline` and `restricted` of the Pod Security Standards, asked for by labels of a namespace.
//!
//! ```text
//! labels of the namespace ──Policy──> enforce, warn, audit: level and version each
//! spec of the pod ──evaluate(level, version)──> findings in upstream's words and order
//! ```

mod baseline;
mod restricted;

use std::fmt;

use api_meta::Cause;
use serde_json::Value;

use crate::pod::{list, text};

/// Begins the labels that ask for a level.
pub const PREFIX: &str = "pod-security.kubernetes.io/";
/// Newest minor version of Kubernetes whose standards are known here.
const NEWEST: u32 = 36;

/// How strict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Everything goes.
    #[default]
    Privileged,
    /// Known ways to more rights are closed.
    Baseline,
    /// Current practice of hardening.
    Restricted,
}

impl Level {
    fn parse(text: &str) -> Option<Level> {
        Some(match text {
            "privileged" => Level::Privileged,
            "baseline" => Level::Baseline,
            "restricted" => Level::Restricted,
            _ => return None,
        })
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        })
    }
}

/// Which version of the standards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// The newest that is known.
    #[default]
    Latest,
    /// That of Kubernetes 1.N.
    Minor(u32),
}

impl Version {
    fn parse(text: &str) -> Option<Version> {
        if text == "latest" {
            return Some(Version::Latest);
        }
        let minor = text.strip_prefix("v1.")?;
        let is_plain = minor == "0" || !minor.starts_with(['0', '+']);
        minor.parse().ok().filter(|_| is_plain).map(Version::Minor)
    }

    /// The minor version it stands for.
    fn minor(self) -> u32 {
        match self {
            Version::Latest => NEWEST,
            Version::Minor(n) => n.min(NEWEST),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Version::Latest => f.write_str("latest"),
            Version::Minor(n) => write!(f, "v1.{n}"),
        }
    }
}

/// A level in a version: `baseline:latest`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standard {
    /// How strict.
    pub level: Level,
    /// Of which version.
    pub version: Version,
}

impl fmt::Display for Standard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.level, self.version)
    }
}

/// What a namespace asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// What breaks it is refused.
    pub enforce: Standard,
    /// What breaks it is noted in the audit log.
    pub audit: Standard,
    /// Who breaks it is told.
    pub warn: Standard,
}

impl Policy {
    /// The policy of a namespace, and what is wrong with its labels. A level that cannot be read is the strictest one, as
    /// upstream has it; so is nobody let in by a typing mistake.
    pub fn of(namespace: &Value) -> (Policy, Vec<Cause>) {
        let labels = &namespace["metadata"]["labels"];
        let mut faults = Vec::new();
        let mut read = |mode: &str, strict: Level| {
            let mut standard = Standard::default();
            let level = format!("{PREFIX}{mode}");
            if let Some(given) = labels[&level].as_str() {
                standard.level = Level::parse(given).unwrap_or_else(|| {
                    faults.push(fault(&level, given, "must be one of privileged, baseline, restricted"));
                    strict
                });
            }
            let version = format!("{PREFIX}{mode}-version");
            if let Some(given) = labels[&version].as_str() {
                standard.version = Version::parse(given).unwrap_or_else(|| {
                    faults.push(fault(&version, given, "must be \"latest\" or \"v1.x\""));
                    Version::Latest
                });
            }
            standard
        };
        let enforce = read("enforce", Level::Restricted);
        let audit = read("audit", Level::Privileged);
        let warn = read("warn", Level::Privileged);
        (Policy { enforce, audit, warn }, faults)
    }

    /// Whether nothing is asked for.
    pub fn is_open(&self) -> bool {
        [self.enforce, self.audit, self.warn].iter().all(|s| s.level == Level::Privileged)
    }
}

fn fault(label: &str, value: &str, why: &str) -> Cause {
    Cause {
        reason: "FieldValueInvalid".to_owned(),
        field: format!("metadata.labels[{label}]"),
        message: format!("Invalid value: {value:?}: {why}"),
    }
}

/// One rule that a pod breaks: the rule, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule in short: `privileged`.
    pub rule: String,
    /// Who breaks it, and what would help; may be empty.
    pub detail: String,
}

impl Finding {
    fn new(rule: impl Into<String>, detail: impl Into<String>) -> Finding {
        Finding { rule: rule.into(), detail: detail.into() }
    }
}

/// Rules of a standard that a pod breaks, in upstream's order.
pub fn evaluate(standard: Standard, metadata: &Value, spec: &Value) -> Vec<Finding> {
    let pod = Pod { metadata, spec, minor: standard.version.minor() };
    match standard.level {
        Level::Privileged => Vec::new(),
        Level::Baseline => baseline::all(&pod),
        Level::Restricted => baseline::kept(&pod).into_iter().chain(restricted::all(&pod)).collect(),
    }
}

/// Findings in one sentence: `privileged (container "c" must not set …), hostPort (…)`.
pub fn told(findings: &[Finding]) -> String {
    let one =
        |f: &Finding| if f.detail.is_empty() { f.rule.clone() } else { format!("{} ({})", f.rule, f.detail) };
    findings.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Rules alone, as a namespace is told about its pods.
pub fn rules(findings: &[Finding]) -> String {
    findings.iter().map(|f| f.rule.as_str()).collect::<Vec<_>>().join(", ")
}

/// Where the template of pods is in a workload; nothing for kinds that have none. By storage key.
pub fn template<'a>(resource: &str, object: &'a Value) -> Option<&'a Value> {
    let at = match resource {
        "deployments.apps"
        | "replicasets.apps"
        | "statefulsets.apps"
        | "daemonsets.apps"
        | "jobs.batch"
        | "replicationcontrollers" => "/spec/template",
        "cronjobs.batch" => "/spec/jobTemplate/spec/template",
        "podtemplates" => "/template",
        _ => return None,
    };
    object.pointer(at).filter(|t| t["spec"].is_object())
}

/// A pod under a version of the standards.
struct Pod<'a> {
    metadata: &'a Value,
    spec: &'a Value,
    minor: u32,
}

impl<'a> Pod<'a> {
    /// Containers of all sorts: init containers, containers, ephemeral ones (upstream's order of visits).
    fn containers(&self) -> impl Iterator<Item = &'a Value> {
        let spec = self.spec;
        ["initContainers", "containers", "ephemeralContainers"].into_iter().flat_map(move |l| list(spec, l))
    }

    /// Names of the containers for which something holds.
    fn named(&self, holds: impl Fn(&'a Value) -> bool) -> Vec<&'a str> {
        self.containers().filter(|c| holds(c)).map(|c| text(c, "name")).collect()
    }

    /// Windows pods are free of what only Linux knows, since 1.25.
    fn is_windows(&self) -> bool {
        self.minor >= 25 && self.spec["os"]["name"] == "windows"
    }
}

/// `container "a"`, `containers "a", "b"`.
fn containers(names: &[&str]) -> String {
    format!("{} {}", plural("container", names.len()), quoted(names))
}

fn plural(word: &str, count: usize) -> String {
    if count == 1 { word.to_owned() } else { format!("{word}s") }
}

/// `"a", "b"`.
fn quoted<S: AsRef<str>>(texts: &[S]) -> String {
    texts.iter().map(|t| format!("{:?}", t.as_ref())).collect::<Vec<_>>().join(", ")
}

/// Sorted, none twice.
fn distinct<T: Ord>(values: impl Iterator<Item = T>) -> Vec<T> {
    let set: std::collections::BTreeSet<T> = values.collect();
    set.into_iter().collect()
}

#[cfg(test)]
mod tests;
