//! The one point that every dangerous action passes: who asks, what is answered, and what becomes of a grant.
//!
//! ```text
//! plan ──action──> brake ──> Permit::ask(request, World) ──> fuse ──> executor ──outcome──> Permit::settle
//!                                     ^ Permit::observe after every batch of changes in the mirrors
//! ```
//!
//! A grant is a promise that the mirrors do not show yet. Who grants keeps it in mind until they do, or until
//! [`Permit::settle`] says that nothing came of it.

use std::time::Duration;

use stdx::Time;

use crate::{Action, Risk, Target, Watch, World};

/// A wish to do something dangerous.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermitRequest {
    /// Who wants it.
    pub controller: &'static str,
    /// How dangerous it is.
    pub risk: Risk,
    /// To which object.
    pub target: Target,
    /// In which namespace; empty for cluster-wide objects.
    pub namespace: String,
    /// For which workload: the key it was planned for.
    pub workload: String,
}

impl PermitRequest {
    /// The request that an action needs; nothing when it endangers nobody.
    pub fn of(controller: &'static str, workload: &str, action: &Action) -> Option<PermitRequest> {
        let (Action::Patch { target, risk, .. } | Action::Delete { target, risk, .. }) = action else {
            return None;
        };
        (*risk != Risk::None).then(|| PermitRequest {
            controller,
            risk: *risk,
            target: target.clone(),
            namespace: target.key.namespace.clone(),
            workload: workload.to_owned(),
        })
    }
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Do it.
    Granted,
    /// Not now.
    Held {
        /// Why, in the user's words.
        reason: String,
        /// When to ask again.
        retry_after: Duration,
    },
}

/// What became of a granted action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was refused, or never tried: the world is as before.
    Undone,
    /// It is done; the collection shows it from this version on, where the answer told one.
    Done(Option<u64>),
    /// No answer came: it may be done, or be done yet.
    Unknown,
}

/// Who may refuse dangerous actions.
pub trait Permit: Send + Sync {
    /// What it must see to judge. The host mirrors these kinds; a change there makes nobody plan.
    fn watches(&self) -> Vec<Watch> {
        Vec::new()
    }

    /// Judges one request. Asked right before the action; quick and without I/O. `world` holds the host's mirrors, stale
    /// as they may be; none when somebody asks who keeps no mirrors: then the request is no disruption of a workload
    /// that is to live on (namespaces being emptied, garbage).
    fn ask(&self, request: &PermitRequest, world: Option<&World>, now: Time) -> Verdict;

    /// The mirrors have changed: what was granted may show by now, settings may be different.
    fn observe(&self, _world: &World, _now: Time) {}

    /// Hears what became of a granted action.
    fn settle(&self, _request: &PermitRequest, _outcome: Outcome, _now: Time) {}
}

/// Grants everything.
pub struct AllowAll;

impl Permit for AllowAll {
    fn ask(&self, _: &PermitRequest, _: Option<&World>, _: Time) -> Verdict {
        Verdict::Granted
    }
}

impl Risk {
    /// What such an action does, for messages.
    pub fn name(self) -> &'static str {
        match self {
            Risk::None => "harmless changes",
            Risk::Restart => "restarts",
            Risk::RemovePod => "pod removals",
            Risk::Destroy => "removals of workloads",
        }
    }
}
