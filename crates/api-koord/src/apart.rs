//! Our words for CPUs: which applications are kept apart on physical cores. Koordinator has none for this.
//!
//! | annotation of a pod | values | meaning |
//! |---|---|---|
//! | `knarr.dev/cpu-application` | a name | whose threads are kept apart; default: label `app.kubernetes.io/name` |
//! | `knarr.dev/cpu-class` | a name, such as `core` | the class that exclusions may name |
//! | `knarr.dev/cpu-stacking` | `Allow`, `Avoid`, `Forbid` | two threads of the application on one physical core, of any of its pods |
//! | `knarr.dev/cpu-sockets` | `Any`, `One` | how many sockets its CPUs may span |
//! | `knarr.dev/cpu-exclusive` | `None`, `Cores` | whole physical cores that nobody else holds, pools included |
//! | `knarr.dev/cpu-excludes` | `pay,class:core` | applications and classes with which no physical core is shared; holds both ways |
//! | `knarr.dev/cpu-load` | `Busy`, `Idle` | what it does with its threads, when known better than measured |
//!
//! Exclusions of a whole cluster are edges of an [`Exclusions`] graph in the scheduler's configuration. All rules bind pods with
//! CPUs of their own; pods of the shared pools float and cannot be told apart by core.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use api_core::Pod;
use serde::{Deserialize, Serialize};

use crate::{Unreadable, names};

/// Two threads of one application on one physical core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stacking {
    /// As it comes.
    #[default]
    Allow,
    /// Only when there is no other way.
    Avoid,
    /// Never.
    Forbid,
}

/// How many sockets the CPUs of a pod may span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sockets {
    /// As few as possible.
    #[default]
    Any,
    /// One.
    One,
}

/// What is a pod's own beyond its CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Exclusive {
    /// Nothing.
    #[default]
    None,
    /// The physical cores of its CPUs, all threads.
    Cores,
}

/// What an application does with its threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Load {
    /// Keeps them busy.
    Busy,
    /// Mostly waits.
    Idle,
}

/// Percent of its CPUs from which a pod counts as busy.
pub const BUSY_PERCENT: i64 = 50;

impl Load {
    /// From what was measured: thousandths of a CPU used and asked for. `None` when nothing was asked for.
    pub fn measured(used_milli: i64, asked_milli: i64) -> Option<Load> {
        (asked_milli > 0).then(|| {
            let busy = i128::from(used_milli) * 100 >= i128::from(asked_milli) * i128::from(BUSY_PERCENT);
            if busy { Load::Busy } else { Load::Idle }
        })
    }
}

/// One end of an exclusion: an application, or a class of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub enum End {
    /// An application by name.
    Application(String),
    /// Every application of a class; written `class:NAME`.
    Class(String),
}

impl From<String> for End {
    fn from(text: String) -> End {
        match text.strip_prefix("class:") {
            Some(name) => End::Class(name.trim().to_owned()),
            None => End::Application(text),
        }
    }
}

impl From<End> for String {
    fn from(end: End) -> String {
        end.to_string()
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Application(name) => f.write_str(name),
            End::Class(name) => write!(f, "class:{name}"),
        }
    }
}

/// Who a pod is when applications are told apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// Its application.
    pub application: Option<String>,
    /// The application's class.
    pub class: Option<String>,
    /// Whom it excludes itself.
    pub excludes: BTreeSet<End>,
}

impl Identity {
    /// Whether an end names it.
    pub fn is(&self, end: &End) -> bool {
        match end {
            End::Application(name) => self.application.as_ref() == Some(name),
            End::Class(name) => self.class.as_ref() == Some(name),
        }
    }

    /// Whether both are pods of one application. Pods without one are strangers to everybody.
    pub fn is_same_application(&self, other: &Identity) -> bool {
        self.application.is_some() && self.application == other.application
    }
}

/// The exclusion graph of a cluster: pairs of applications or classes that never share a physical core. Holds both ways.
///
/// Between an application and itself, or within a class, an edge keeps *different* applications apart: threads of one application
/// are [`Stacking`]'s business. On the wire a list of pairs: `[["class:core","class:core"],["pay","search"]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Exclusions(pub Vec<(End, End)>);

impl Exclusions {
    /// Whether the two may not share a physical core, by the graph or by what either says itself.
    pub fn part(&self, a: &Identity, b: &Identity) -> bool {
        if a.is_same_application(b) {
            return false;
        }
        let by_graph = self.0.iter().any(|(x, y)| (a.is(x) && b.is(y)) || (a.is(y) && b.is(x)));
        by_graph || a.excludes.iter().any(|end| b.is(end)) || b.excludes.iter().any(|end| a.is(end))
    }
}

/// Everything a pod says in these words.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CpuRules {
    /// Who it is.
    pub identity: Identity,
    /// Two threads on one core; `None` when it does not say.
    pub stacking: Option<Stacking>,
    /// Sockets.
    pub sockets: Sockets,
    /// What is its own.
    pub exclusive: Exclusive,
    /// What it does with its threads.
    pub load: Option<Load>,
}

impl CpuRules {
    /// Reads the annotations of a pod. Errors: the first word that is none of those supported.
    pub fn of(pod: &Pod) -> Result<CpuRules, Unreadable> {
        let (labels, annotations) = (&pod.metadata.labels, &pod.metadata.annotations);
        let application = text(annotations, names::CPU_APPLICATION).or_else(|| text(labels, names::APP_NAME));
        let stackings =
            [("Allow", Stacking::Allow), ("Avoid", Stacking::Avoid), ("Forbid", Stacking::Forbid)];
        let sockets = word(annotations, names::CPU_SOCKETS, &[("Any", Sockets::Any), ("One", Sockets::One)])?;
        let owned = [("None", Exclusive::None), ("Cores", Exclusive::Cores)];
        Ok(CpuRules {
            identity: Identity {
                application,
                class: text(annotations, names::CPU_CLASS),
                excludes: excludes(annotations)?,
            },
            stacking: word(annotations, names::CPU_STACKING, &stackings)?,
            sockets: sockets.unwrap_or_default(),
            exclusive: word(annotations, names::CPU_EXCLUSIVE, &owned)?.unwrap_or_default(),
            load: word(annotations, names::CPU_LOAD, &[("Busy", Load::Busy), ("Idle", Load::Idle)])?,
        })
    }
}

fn text(list: &BTreeMap<String, String>, key: &str) -> Option<String> {
    list.get(key).filter(|v| !v.is_empty()).cloned()
}

/// One of a few words; absent or empty: none.
pub(crate) fn word<T: Copy>(
    list: &BTreeMap<String, String>,
    key: &str,
    known: &[(&str, T)],
) -> Result<Option<T>, Unreadable> {
    let Some(said) = text(list, key) else { return Ok(None) };
    if let Some((_, value)) = known.iter().find(|(name, _)| *name == said) {
        return Ok(Some(*value));
    }
    let known: Vec<String> = known.iter().map(|(name, _)| format!("{name:?}")).collect();
    Err(Unreadable::new(key, format!("supported values: {}", known.join(", "))))
}

fn excludes(annotations: &BTreeMap<String, String>) -> Result<BTreeSet<End>, Unreadable> {
    let Some(said) = text(annotations, names::CPU_EXCLUDES) else { return Ok(BTreeSet::new()) };
    let ends: BTreeSet<End> = said.split(',').map(|part| End::from(part.trim().to_owned())).collect();
    let is_empty = |end: &End| matches!(end, End::Application(n) | End::Class(n) if n.is_empty());
    if ends.iter().any(is_empty) {
        return Err(Unreadable::new(
            names::CPU_EXCLUDES,
            "must be names, or class:NAME, with commas between",
        ));
    }
    Ok(ends)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn who(application: &str, class: &str, excludes: &str) -> Identity {
        let pod: Pod = serde_json::from_value(json!({"metadata": {
            "labels": {"app.kubernetes.io/name": application},
            "annotations": {"knarr.dev/cpu-class": class, "knarr.dev/cpu-excludes": excludes},
        }}))
        .unwrap();
        CpuRules::of(&pod).unwrap().identity
    }

    #[test]
    fn exclusion_holds_both_ways_by_name_and_by_class() {
        let none = Exclusions::default();
        let (pay, search) = (who("pay", "core", "search, class:batch"), who("search", "", ""));
        assert!(none.part(&pay, &search) && none.part(&search, &pay));
        assert!(none.part(&who("sort", "batch", ""), &pay));
        assert!(!none.part(&search, &who("sort", "batch", "")));
    }

    #[test]
    fn an_edge_within_a_class_keeps_its_applications_apart_and_none_from_itself() {
        let graph: Exclusions =
            serde_json::from_str(r#"[["class:core","class:core"],["pay","search"]]"#).unwrap();
        let (pay, trade) = (who("pay", "core", ""), who("trade", "core", ""));
        assert!(graph.part(&pay, &trade));
        assert!(!graph.part(&pay, &pay), "threads of one application are for stacking to judge");
        assert!(graph.part(&who("search", "", ""), &pay));
        assert!(!graph.part(&who("", "", ""), &pay), "who names no application is in no edge");
        assert_eq!(
            serde_json::to_string(&graph).unwrap(),
            r#"[["class:core","class:core"],["pay","search"]]"#
        );
    }

    #[test]
    fn words_are_read_or_refused_by_name() {
        let read = |key: &str, value: &str| {
            let pod: Pod =
                serde_json::from_value(json!({"metadata": {"annotations": {key: value}}})).unwrap();
            CpuRules::of(&pod)
        };
        assert_eq!(read(names::CPU_EXCLUSIVE, "Cores").unwrap().exclusive, Exclusive::Cores);
        assert_eq!(read(names::CPU_SOCKETS, "").unwrap(), CpuRules::default());
        assert_eq!(
            read(names::CPU_LOAD, "busy").unwrap_err().to_string(),
            r#"knarr.dev/cpu-load: supported values: "Busy", "Idle""#
        );
        assert!(read(names::CPU_EXCLUDES, "a,,b").is_err());
    }

    #[test]
    fn half_of_what_it_asked_for_is_busy() {
        assert_eq!(Load::measured(2000, 4000), Some(Load::Busy));
        assert_eq!(Load::measured(1999, 4000), Some(Load::Idle));
        assert_eq!(Load::measured(1, 0), None);
    }
}
