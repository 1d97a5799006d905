//! Stories made up for tests: a chronicle with the facts of a good step, and ways to spoil it.

use crate::facts::{
    CafeSeen, CellSeen, Chronicle, Fact, GroupPhase, GroupSeen, Mark, Micros, Phase, PodSeen, SECOND, Share,
};
use crate::load::{Failure, FailureKind, Line, Tick};
use crate::steps::{CELLS, SHOP, StepId};

/// A chronicle that grows by a clock of its own.
pub(crate) struct Tale {
    pub(crate) seen: Chronicle,
    pub(crate) now: Micros,
    pods: Vec<PodSeen>,
}

/// Pods in the order in which the groups take them: beta 1+1, then 2+2, 2+2, 1+1.
pub(crate) const GROUPS: [&[usize]; 4] = [&[0, 6], &[1, 2, 7, 8], &[3, 4, 9, 10], &[5, 11]];

impl Tale {
    /// Twelve pods in service at `version`, six in each cell.
    pub(crate) fn new(version: &str) -> Tale {
        let pod = |i: usize| PodSeen {
            name: format!("shop-{i}"),
            uid: format!("u{i}"),
            app: SHOP.into(),
            cell: CELLS[i / 6].into(),
            ip: format!("127.9.64.{}", i + 1),
            image: format!("knarr.dev/shop:{version}"),
            container: format!("c{i}-0"),
            ready: true,
            gate: Some(true),
            protected: true,
            deleting: false,
            broken: String::new(),
        };
        let mut tale = Tale { seen: Chronicle::default(), now: 0, pods: (0..12).map(pod).collect() };
        (0..12).for_each(|i| tale.change(i, |_| {}));
        tale
    }

    pub(crate) fn later(&mut self, micros: Micros) {
        self.now += micros;
    }

    pub(crate) fn fact(&mut self, fact: Fact) {
        self.seen.push(self.now, fact);
    }

    pub(crate) fn mark(&mut self, mark: Mark) {
        self.fact(Fact::Mark(mark));
    }

    /// Changes a pod, and lets it be seen.
    pub(crate) fn change(&mut self, i: usize, how: impl Fn(&mut PodSeen)) {
        how(&mut self.pods[i]);
        let pod = self.pods[i].clone();
        self.fact(Fact::Pod(pod));
    }

    /// Takes a pod out of service.
    pub(crate) fn drain(&mut self, i: usize) {
        self.change(i, |p| (p.gate, p.ready) = (Some(false), false));
        self.later(SECOND / 10);
        self.change(i, |p| p.protected = false);
    }

    /// Replaces its process, and puts it back.
    pub(crate) fn update(&mut self, i: usize, version: &str) {
        self.change(i, |p| p.image = format!("knarr.dev/shop:{version}"));
        self.later(SECOND / 5);
        self.change(i, |p| p.container = format!("{}+", p.container));
        self.change(i, |p| (p.gate, p.ready, p.protected) = (Some(true), true, true));
    }

    /// What the deployment says: `done` groups are done, the next one does `phase`.
    pub(crate) fn cafe(&mut self, version: &str, done: usize, phase: Phase) {
        let cell = |name: &str, pods: usize| Share { name: name.into(), pods };
        let group = |(index, pods): (usize, &&[usize])| GroupSeen {
            index,
            name: if index == 0 { "beta".into() } else { format!("group-{index}") },
            cells: CELLS.iter().map(|c| cell(c, pods.len() / 2)).collect(),
            phase: match index {
                i if i < done => GroupPhase::Done,
                i if i == done => GroupPhase::Running,
                _ => GroupPhase::Planned,
            },
        };
        let cafe = CafeSeen {
            name: SHOP.into(),
            generation: (1, 1),
            version: version.into(),
            replicas: 12,
            phase,
            update_revision: format!("shop-{version}"),
            groups: GROUPS.iter().enumerate().map(group).collect(),
            cells: CELLS.iter().map(|c| CellSeen { name: (*c).into(), ..CellSeen::default() }).collect(),
            ..CafeSeen::default()
        };
        self.fact(Fact::Cafe(cafe));
    }

    /// Changes what the deployment said last, and lets it be seen.
    pub(crate) fn say(&mut self, how: impl Fn(&mut CafeSeen)) {
        let last = self.seen.entries().iter().rev().find_map(|e| match &e.fact {
            Fact::Cafe(cafe) => Some(cafe.clone()),
            _ => None,
        });
        let mut cafe = last.unwrap_or_default();
        how(&mut cafe);
        self.fact(Fact::Cafe(cafe));
    }

    /// A group from drain to service.
    pub(crate) fn group(&mut self, group: usize, version: &str) {
        if group > 0 {
            self.mark(Mark::Confirmed(SHOP.into()));
        }
        self.cafe(version, group, Phase::RollingOut);
        GROUPS[group].iter().for_each(|i| self.drain(*i));
        GROUPS[group].iter().for_each(|i| self.update(*i, version));
        self.later(SECOND);
        self.traffic(SHOP, version);
    }

    /// A whole release.
    pub(crate) fn release(&mut self, version: &str) {
        (0..GROUPS.len()).for_each(|g| self.group(g, version));
        self.cafe(version, GROUPS.len(), Phase::Stable);
    }

    /// A second of traffic that ends now.
    pub(crate) fn traffic(&mut self, app: &str, version: &str) {
        let tick = Tick {
            at: self.now - SECOND,
            until: self.now,
            sent: 2000,
            ok: 2000,
            p50_us: 22_000,
            p99_us: 27_000,
            versions: [(version.to_owned(), 2000)].into(),
            ..Tick::default()
        };
        self.fact(Fact::Load(app.into(), Line::Tick(tick)));
    }

    /// A request that was due `ago` and has failed now, at an endpoint.
    pub(crate) fn failure(&mut self, app: &str, ago: Micros, endpoint: &str) {
        let failure = Failure {
            due: self.now - ago,
            end: self.now,
            kind: FailureKind::Status,
            status: Some(502),
            endpoint: endpoint.into(),
            proxy: "reset".into(),
            detail: String::new(),
        };
        self.fact(Fact::Load(app.into(), Line::Failure(failure)));
    }

    /// A step told by `tell`.
    pub(crate) fn step(mut self, id: StepId, tell: impl FnOnce(&mut Tale)) -> Tale {
        self.later(SECOND);
        self.mark(Mark::Begin(id));
        self.later(1);
        tell(&mut self);
        self.later(1);
        self.mark(Mark::End(id));
        self
    }
}
