//! The set as the steps see it: revisions, limits and members worked out once.

use std::sync::Arc;

use api_core::{PersistentVolumeClaim, Pod};
use api_workload::{CloneSetSpec, UpdateType};
use reconcile::{Note, Severity};
use stdx::Time;
use workload_kit::census::{Census, Diffs, Kind, Limits, Rules};
use workload_kit::lifecycle::State;
use workload_kit::{drain, gate, podfact, revision};

use super::Observed;
use super::history::History;

/// The set as the steps see it.
pub(super) struct View<'a> {
    pub seen: &'a Observed,
    pub spec: &'a CloneSetSpec,
    pub history: History,
    pub limits: Limits,
    pub rules: Rules,
    pub now: Time,
    /// Active pods in name order.
    pub members: Vec<Member>,
    /// Claims in name order.
    pub claims: Vec<Arc<PersistentVolumeClaim>>,
}

/// One active pod.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub pod: Arc<Pod>,
    pub state: State,
    /// Labelled with the update revision.
    pub is_new: bool,
    /// In service: no hook is awaited, its traffic is back, nobody asks for it to leave.
    pub is_ready: bool,
    /// The same for as long as the set asks.
    pub is_available: bool,
    /// Marked for deletion, by label or by name.
    pub is_marked: bool,
    /// Somebody else asks for it to leave service.
    pub is_requested: bool,
    /// How far it is out of traffic.
    pub drain: drain::Progress,
}

impl Member {
    pub(super) fn name(&self) -> &str {
        &self.pod.metadata.name
    }

    /// Whether it is out of traffic, or on the way out, for nothing but its deletion.
    pub(super) fn is_leaving(&self) -> bool {
        let is_draining =
            matches!(self.drain, drain::Progress::Draining { .. } | drain::Progress::Overdue { .. });
        gate::is_closed_to_leave(&self.pod) || is_draining
    }

    /// Whether its drain was overdue and its owner wants the release to go back rather than to wait.
    pub(super) fn refuses(&self, revision: &str) -> bool {
        let is_given_back = gate::refused(&self.pod) == Some(revision)
            && drain::Policy::of(&self.pod) == drain::Policy::RollBack;
        is_given_back || (self.goes_back() && podfact::is_specified_delete(&self.pod))
    }

    /// Whether its drain is overdue, and that calls the release back.
    pub(super) fn goes_back(&self) -> bool {
        matches!(self.drain, drain::Progress::Overdue { policy: drain::Policy::RollBack, .. })
    }

    fn kind(&self) -> Kind {
        match () {
            () if self.state == State::PreparingDelete => Kind::PreDeleting,
            () if self.is_marked && !self.is_available => Kind::ToDeleteUnavailable,
            () if self.is_marked => Kind::ToDelete,
            () if !self.is_available => Kind::Unavailable,
            () => Kind::Available,
        }
    }
}

impl<'a> View<'a> {
    pub(super) fn new(seen: &'a Observed, spec: &'a CloneSetSpec, history: History, now: Time) -> View<'a> {
        let rolling = &spec.update_strategy.rolling_update;
        let scale = &spec.scale_strategy;
        let limits = Limits::resolve(
            spec.replicas,
            rolling.partition,
            rolling.max_surge,
            rolling.max_unavailable,
            scale.max_unavailable,
            rolling.paused,
        );
        let update = history.update.metadata.name.clone();
        let member = |pod: &Arc<Pod>| Member {
            state: State::of(pod),
            is_new: revision::is_at(pod, &update),
            is_ready: podfact::is_available(pod, 0, now),
            is_available: podfact::is_available(pod, spec.min_ready_seconds, now),
            is_marked: podfact::is_specified_delete(pod) || scale.pods_to_delete.contains(&pod.metadata.name),
            is_requested: api_core::drain::requests(pod).next().is_some(),
            drain: drain::progress(pod, now),
            pod: pod.clone(),
        };
        let mut members: Vec<Member> = seen.pods.iter().map(member).collect();
        members.sort_by(|a, b| a.name().cmp(b.name()));
        let mut claims = seen.claims.clone();
        claims.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        let rules = Rules { partition_rollback: false, exclude_pre_deleting: scale.exclude_preparing_delete };
        View { seen, spec, history, limits, rules, now, members, claims }
    }

    /// What follows from counting the members.
    pub(super) fn diffs(&self) -> Diffs {
        let mut census = Census::default();
        for member in &self.members {
            census.add(member.is_new, member.kind());
        }
        Diffs::of(&self.limits, &census, self.rules)
    }

    pub(super) fn update_name(&self) -> &str {
        &self.history.update.metadata.name
    }

    pub(super) fn updates_by_itself(&self) -> bool {
        let update = &self.spec.update_strategy;
        update.r#type == UpdateType::RollingUpdate && !update.rolling_update.paused
    }

    /// How far the budget is used, in words: "2 of 3 allowed pods are unavailable (a), 1 of them from now on".
    pub(super) fn budget_told(&self, limit: i32, begun: usize) -> String {
        let names = self.unavailable_names();
        let listed = if names.is_empty() { String::new() } else { format!(" ({})", listed(&names)) };
        let begun_told = if begun > 0 { format!(", {begun} of them from now on") } else { String::new() };
        let verb = if limit == 1 { "pod is" } else { "pods are" };
        format!("{} of {} allowed {verb} unavailable{listed}{begun_told}", names.len() + begun, limit.max(0))
    }

    /// Members that do not go to the update revision because traffic did not end in time: the release is to go back.
    pub(super) fn refusing(&self) -> Vec<&str> {
        let refuses = |m: &&Member| !m.is_new && m.refuses(self.update_name());
        self.members.iter().filter(refuses).map(Member::name).collect()
    }

    /// Names of the members that are not available.
    pub(super) fn unavailable_names(&self) -> Vec<&str> {
        self.members.iter().filter(|m| !m.is_available).map(Member::name).collect()
    }
}

/// A note that says what is held back, and why.
pub(super) fn why(reason: &'static str, message: String) -> Note {
    Note::new(Severity::Why, reason, message)
}

/// Names in a sentence, the first ones only when there are many.
pub(super) fn listed(names: &[&str]) -> String {
    const SHOWN_MAX: usize = 10;
    let shown = names.iter().take(SHOWN_MAX).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// "1 pod", "2 pods".
pub(super) fn pods(count: usize) -> String {
    if count == 1 { "1 pod".to_owned() } else { format!("{count} pods") }
}
