//! The sequence of the story, as data.

/// A step, in the order in which they are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum StepId {
    /// Roll the application out, group by group.
    RollOut,
    /// Release a good version.
    Release,
    /// Release a broken one.
    Broken,
    /// Kill the control plane in the middle of a group.
    PlaneKill,
    /// The same release with draining off.
    Undrained,
    /// A stock Deployment's rolling update.
    Stock,
    /// Kill a whole cell during a release.
    CellDeath,
}

/// What a step does, and what is expected of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Which.
    pub id: StepId,
    /// Its name on the screen and in the report.
    pub name: &'static str,
    /// What is done, in a sentence.
    pub what: &'static str,
    /// The application it is about: its deployment, its Service and its load are called so.
    pub app: &'static str,
    /// Version that is released.
    pub version: &'static str,
    /// What is expected, in a few words.
    pub expected: &'static str,
}

/// The application that is released by cells, with draining.
pub const SHOP: &str = "shop";
/// The same with draining off.
pub const UNDRAINED: &str = "shop-undrained";
/// The same as a stock Deployment.
pub const STOCK: &str = "shop-stock";
/// The cells, in the order in which they are shown. The last one dies.
pub const CELLS: [&str; 2] = ["CellA", "CellB"];
/// The cell that dies.
pub const DOOMED: &str = CELLS[1];

/// All steps. The negative controls come before the cell dies, so that they have the same two cells as the releases.
pub const STEPS: [Step; 7] = [
    Step {
        id: StepId::RollOut,
        name: "roll out v1",
        what: "Twelve pods in two cells come up group by group behind one Service address; then the load begins.",
        app: SHOP,
        version: "v1",
        expected: "every group in its turn",
    },
    Step {
        id: StepId::Release,
        name: "release v2",
        what: "Beta group, confirmation, groups, in place: the same pods and addresses, new processes.",
        app: SHOP,
        version: "v2",
        expected: "0 failed",
    },
    Step {
        id: StepId::Broken,
        name: "release a broken v3",
        what: "Its process exits at start: the release stops in the beta group, says why, and rolls back.",
        app: SHOP,
        version: "v3-broken",
        expected: "0 failed, at most 2 pods touched",
    },
    Step {
        id: StepId::PlaneKill,
        name: "kill the control plane",
        what: "SIGKILL in the middle of a group; traffic goes on, the next start resumes at the same pod.",
        app: SHOP,
        version: "v3",
        expected: "0 failed",
    },
    Step {
        id: StepId::Undrained,
        name: "control: draining off",
        what: "The same release of the same application, its pods annotated knarr.dev/drain: disabled.",
        app: UNDRAINED,
        version: "v2",
        expected: "more than 0 failed",
    },
    Step {
        id: StepId::Stock,
        name: "control: stock Deployment",
        what: "A rolling update as every cluster does it: same image, same proxy, same load.",
        app: STOCK,
        version: "v2",
        expected: "more than 0 failed",
    },
    Step {
        id: StepId::CellDeath,
        name: "kill a cell",
        what: "Agent, shims and processes of CellB get SIGKILL while a release runs; CellA goes on alone.",
        app: SHOP,
        version: "v4",
        expected: "none but those open in it",
    },
];

impl StepId {
    /// What it does.
    pub fn step(self) -> &'static Step {
        STEPS.iter().find(|s| s.id == self).expect("the table has a row for each")
    }

    /// Whether failures are what the step is to show.
    pub fn is_control(self) -> bool {
        matches!(self, StepId::Undrained | StepId::Stock)
    }
}

/// The steps of a run: all, or the roll-out and the one asked for.
pub fn chosen(only: Option<StepId>) -> Vec<StepId> {
    let all = STEPS.iter().map(|s| s.id);
    all.filter(|id| only.is_none_or(|o| o == *id || *id == StepId::RollOut)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_has_its_row_and_none_is_told_before_the_roll_out() {
        use clap::ValueEnum;
        for id in StepId::value_variants() {
            assert_eq!(id.step().id, *id);
        }
        assert_eq!(chosen(None).len(), STEPS.len());
        assert_eq!(chosen(None)[0], StepId::RollOut);
        assert_eq!(chosen(Some(StepId::Stock)), [StepId::RollOut, StepId::Stock]);
    }

    #[test]
    fn each_release_asks_for_another_version_than_the_one_before() {
        let versions: Vec<&str> = STEPS.iter().filter(|s| s.app == SHOP).map(|s| s.version).collect();
        assert!(versions.windows(2).all(|w| w[0] != w[1]), "{versions:?}");
    }
}
