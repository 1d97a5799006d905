//! What was seen, in the order in which it was seen: the only thing verdicts and the report are made from.

mod cafe;
mod pod;

use std::collections::BTreeMap;

pub(crate) use cafe::{CONFIRMED, CafeDeployment};
pub use cafe::{CafeSeen, CellSeen, GroupPhase, GroupSeen, Phase, Share};
pub use pod::PodSeen;

use crate::load::{Failure, Line, Tick};
use crate::steps::StepId;

/// Microseconds since 1970.
pub type Micros = i64;

/// One second.
pub const SECOND: Micros = 1_000_000;

/// A fact and when it was seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// When.
    pub at: Micros,
    /// What.
    pub fact: Fact,
}

/// Something that was seen or done.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// A pod as it is now.
    Pod(PodSeen),
    /// A pod that is gone, by its uid.
    PodGone(String),
    /// A CafeDeployment as it is now.
    Cafe(CafeSeen),
    /// A line of the load on a Service.
    Load(String, Line),
    /// Something the story did.
    Mark(Mark),
}

/// What the story does itself.
#[derive(Clone, Debug, PartialEq)]
pub enum Mark {
    /// A step begins.
    Begin(StepId),
    /// A step is over.
    End(StepId),
    /// A group was confirmed.
    Confirmed(String),
    /// The control plane was killed.
    PlaneKilled,
    /// It answers again.
    PlaneBack,
    /// The processes of a cell were killed, from the entry's time until `until`.
    CellKilled {
        /// Which cell.
        cell: String,
        /// When the last one was.
        until: Micros,
        /// How many.
        processes: usize,
        /// Addresses its pods had.
        addresses: Vec<String>,
    },
}

/// The pods and deployments at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct World {
    /// Pods by uid.
    pub pods: BTreeMap<String, PodSeen>,
    /// CafeDeployments by name.
    pub cafes: BTreeMap<String, CafeSeen>,
}

impl World {
    /// Takes in a fact.
    pub fn see(&mut self, fact: &Fact) {
        match fact {
            Fact::Pod(pod) => {
                self.pods.insert(pod.uid.clone(), pod.clone());
            }
            Fact::PodGone(uid) => {
                self.pods.remove(uid);
            }
            Fact::Cafe(cafe) => {
                self.cafes.insert(cafe.name.clone(), cafe.clone());
            }
            Fact::Load(..) | Fact::Mark(_) => {}
        }
    }

    /// The pods of an application.
    pub fn pods_of<'a>(&'a self, app: &'a str) -> impl Iterator<Item = &'a PodSeen> {
        self.pods.values().filter(move |p| p.app == app)
    }
}

/// Everything that was seen.
#[derive(Clone, Debug, Default)]
pub struct Chronicle {
    entries: Vec<Entry>,
}

/// The part of a chronicle that belongs to one step.
#[derive(Clone, Debug)]
pub struct Span<'a> {
    /// When the step began.
    pub begin: Micros,
    /// When it was over; the end of the chronicle when it never was.
    pub end: Micros,
    /// Everything as it was when it began.
    pub before: World,
    /// What was seen meanwhile.
    pub entries: &'a [Entry],
}

impl Chronicle {
    /// Adds a fact. Times never go backwards here: the order of the facts is that of their arrival.
    pub fn push(&mut self, at: Micros, fact: Fact) {
        let at = self.entries.last().map_or(at, |e| e.at.max(at));
        self.entries.push(Entry { at, fact });
    }

    /// All facts.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// When the first and the last fact were seen.
    pub fn bounds(&self) -> (Micros, Micros) {
        let of = |e: Option<&Entry>| e.map_or(0, |e| e.at);
        (of(self.entries.first()), of(self.entries.last()))
    }

    /// The part of a step; none when it never began.
    pub fn span(&self, step: StepId) -> Option<Span<'_>> {
        let at = |mark: Mark| self.entries.iter().position(|e| e.fact == Fact::Mark(mark.clone()));
        let first = at(Mark::Begin(step))?;
        let last = at(Mark::End(step)).map_or(self.entries.len(), |i| i + 1);
        let mut before = World::default();
        self.entries[..first].iter().for_each(|e| before.see(&e.fact));
        let entries = &self.entries[first..last];
        let end = entries.last().map_or(0, |e| e.at);
        Some(Span { begin: self.entries[first].at, end, before, entries })
    }

    /// Failures of a load, by when they were due.
    pub fn failures<'a>(&'a self, load: &'a str) -> impl Iterator<Item = &'a Failure> {
        self.lines(load).filter_map(|line| match line {
            Line::Failure(failure) => Some(failure),
            _ => None,
        })
    }

    /// Figures of a load.
    pub fn ticks<'a>(&'a self, load: &'a str) -> impl Iterator<Item = &'a Tick> {
        self.lines(load).filter_map(|line| match line {
            Line::Tick(tick) => Some(tick),
            _ => None,
        })
    }

    fn lines<'a>(&'a self, load: &'a str) -> impl Iterator<Item = &'a Line> {
        self.entries.iter().filter_map(move |e| match &e.fact {
            Fact::Load(name, line) if name == load => Some(line),
            _ => None,
        })
    }
}

impl Span<'_> {
    /// The world after each change of it, with the time; the first is that before the step.
    pub fn worlds(&self) -> impl Iterator<Item = (Micros, World)> + '_ {
        let mut world = self.before.clone();
        let first = std::iter::once((self.begin, self.before.clone()));
        let rest = self.entries.iter().filter_map(move |e| {
            if matches!(e.fact, Fact::Load(..) | Fact::Mark(_)) {
                return None;
            }
            world.see(&e.fact);
            Some((e.at, world.clone()))
        });
        first.chain(rest)
    }

    /// The world at the end of the step.
    pub fn after(&self) -> World {
        let mut world = self.before.clone();
        self.entries.iter().for_each(|e| world.see(&e.fact));
        world
    }

    /// When the story did this for the first time.
    pub fn mark(&self, is_it: impl Fn(&Mark) -> bool) -> Option<(Micros, &Mark)> {
        self.entries.iter().find_map(|e| match &e.fact {
            Fact::Mark(mark) if is_it(mark) => Some((e.at, mark)),
            _ => None,
        })
    }

    /// The states of a CafeDeployment that were seen.
    pub fn cafes<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (Micros, &'a CafeSeen)> {
        self.entries.iter().filter_map(move |e| match &e.fact {
            Fact::Cafe(cafe) if cafe.name == name => Some((e.at, cafe)),
            _ => None,
        })
    }

    /// The states of an application's pods that were seen.
    pub fn pods<'a>(&'a self, app: &'a str) -> impl Iterator<Item = (Micros, &'a PodSeen)> {
        self.entries.iter().filter_map(move |e| match &e.fact {
            Fact::Pod(pod) if pod.app == app => Some((e.at, pod)),
            _ => None,
        })
    }
}
