//! What a planner decides: data that an executor carries out without choosing.

use std::collections::BTreeMap;

use api_meta::{Object, ObjectKey, Resource};
use serde_json::Value;
use stdx::Time;

use crate::Verb;

/// The outcome of one look at one key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// What to do, in order. The executor stops at the first failure and looks again.
    pub actions: Vec<Action>,
    /// What to tell people, whether or not anything is done.
    pub notes: Vec<Note>,
    /// When to look again although nothing changed.
    pub wake: Option<Time>,
    /// Notes (by index) that are true only once an action (by index) is done: `Created pod: x`.
    pub after: BTreeMap<usize, usize>,
}

impl Plan {
    /// Nothing to do.
    pub fn new() -> Plan {
        Plan::default()
    }

    /// Whether it changes nothing.
    pub fn is_quiet(&self) -> bool {
        self.actions.is_empty()
    }

    /// Adds an action.
    pub fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    /// Adds an action, and a note that is told only once it is done.
    pub fn act_noting(&mut self, action: Action, note: Note) {
        self.after.insert(self.notes.len(), self.actions.len());
        self.actions.push(action);
        self.notes.push(note);
    }

    /// Adds a note.
    pub fn note(&mut self, note: Note) {
        self.notes.push(note);
    }

    /// Asks for another look at `at`; the earliest wish wins.
    pub fn wake_at(&mut self, at: Time) {
        self.wake = Some(self.wake.map_or(at, |w| w.min(at)));
    }

    /// Appends another plan.
    pub fn extend(&mut self, other: Plan) {
        let (notes, actions) = (self.notes.len(), self.actions.len());
        self.after.extend(other.after.into_iter().map(|(n, a)| (n + notes, a + actions)));
        self.actions.extend(other.actions);
        self.notes.extend(other.notes);
        if let Some(at) = other.wake {
            self.wake_at(at);
        }
    }
}

/// An object as the planner saw it: the fence of every action on it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// Its collection.
    pub resource: Resource,
    /// Where it lives.
    pub key: ObjectKey,
    /// Its identity: the action is void for another object of the same name.
    pub uid: String,
    /// Its version; when given, the action is void once anybody has written the object since.
    pub revision: Option<u64>,
}

impl Target {
    /// An object by identity, whatever its version.
    pub fn of<T: Object>(object: &T) -> Target {
        let meta = object.meta();
        Target { resource: T::RESOURCE, key: meta.key(), uid: meta.uid.clone(), revision: None }
    }

    /// An object in exactly the version seen.
    pub fn at<T: Object>(object: &T) -> Target {
        Target { revision: Some(object.meta().revision()), ..Target::of(object) }
    }
}

/// How dangerous an action is to running applications.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Risk {
    /// Touches no running process: creation, bookkeeping, status.
    None,
    /// Restarts a container, or takes a pod out of service for a while.
    Restart,
    /// Ends one pod that its owner can replace.
    RemovePod,
    /// Ends something that is not replaced by itself: workloads, namespaces, volumes, cascades.
    Destroy,
}

/// Form of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// RFC 7386.
    Merge,
    /// Kubernetes' own; built-in kinds only.
    Strategic,
    /// Server-side apply under the controller's name, with force.
    Apply,
    /// PUT of the whole body: only for subresources that know no patch (`namespaces/finalize`).
    Replace,
}

/// What happens to the children of a deleted object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// They go first.
    Foreground,
    /// They go after it.
    Background,
    /// They stay.
    Orphan,
}

/// One effect.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Goes on only if the object is still there, the same, and not terminating, as read live: before an adoption, which
    /// must not hand a child to an owner that is going away.
    Require {
        /// Which.
        target: Target,
    },
    /// Creates an object; its name is in the body, so that a repeated creation finds it there.
    Create {
        /// Collection.
        resource: Resource,
        /// The whole object, with name and namespace.
        body: Value,
    },
    /// Changes an object.
    Patch {
        /// Which, and in which version.
        target: Target,
        /// Subresource (`status`, `resize`, `scale`) or empty.
        subresource: &'static str,
        /// Form of `body`.
        form: Form,
        /// The change.
        body: Value,
        /// What it may do to running applications.
        risk: Risk,
    },
    /// Deletes an object.
    Delete {
        /// Which.
        target: Target,
        /// Seconds of grace; the object's own when absent.
        grace_seconds: Option<i64>,
        /// What happens to its children; the kind's own when absent.
        propagation: Option<Propagation>,
        /// What it may do to running applications.
        risk: Risk,
    },
}

impl Action {
    /// How dangerous it is.
    pub fn risk(&self) -> Risk {
        match self {
            Action::Require { .. } | Action::Create { .. } => Risk::None,
            Action::Patch { risk, .. } | Action::Delete { risk, .. } => *risk,
        }
    }

    /// What it does, in one word.
    pub fn verb(&self) -> Verb {
        match self {
            Action::Require { .. } => Verb::Require,
            Action::Create { .. } => Verb::Create,
            Action::Patch { .. } => Verb::Patch,
            Action::Delete { .. } => Verb::Delete,
        }
    }

    /// The collection it acts on.
    pub fn resource(&self) -> &Resource {
        match self {
            Action::Create { resource, .. } => resource,
            Action::Require { target } | Action::Patch { target, .. } | Action::Delete { target, .. } => {
                &target.resource
            }
        }
    }

    /// Where the object lives that it acts on.
    pub fn key(&self) -> ObjectKey {
        match self {
            Action::Create { body, .. } => {
                let text = |field: &str| body["metadata"][field].as_str().unwrap_or_default().to_owned();
                ObjectKey { namespace: text("namespace"), name: text("name") }
            }
            Action::Require { target } | Action::Patch { target, .. } | Action::Delete { target, .. } => {
                target.key.clone()
            }
        }
    }

    /// A merge patch of the status subresource.
    pub fn status(target: Target, status: Value) -> Action {
        let body = serde_json::json!({ "status": status });
        Action::Patch { target, subresource: "status", form: Form::Merge, body, risk: Risk::None }
    }
}

/// How loudly to say something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As expected (`Normal` event).
    Normal,
    /// Somebody may want to look (`Warning` event).
    Warning,
    /// Only for `why` and the board: not an event. Used for "held back because".
    Why,
}

/// Something a planner has to say, in the user's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// How loudly.
    pub severity: Severity,
    /// One CamelCase word, as in the original where there is one.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
    /// The object it is about; the key's own object when absent.
    pub about: Option<Target>,
}

impl Note {
    /// A note about the key's own object.
    pub fn new(severity: Severity, reason: &'static str, message: impl Into<String>) -> Note {
        Note { severity, reason, message: message.into(), about: None }
    }
}
