//! How a scheduler is set up, and what it must be allowed to do.

use reconcile::Permission;
use sched_plugins::{ConfigError, Configuration, Profile, Rules};
use serde_json::Value;

/// Name of our own profile.
const OURS: &str = "knarr";

/// Settings of a scheduler; resolved by the caller.
#[derive(Clone, Debug)]
pub struct Config {
    /// It schedules pods whose `spec.schedulerName` is the name of one of these, by that one's rules. The first one's name signs
    /// its events.
    pub profiles: Vec<Profile>,
    /// The KubeSchedulerConfiguration they were read from; absent for the defaults. Written down in the decision log.
    pub configuration: Option<Value>,
    /// How gangs, quotas, CPUs, load and devices are judged where objects say nothing.
    pub classes: sched_classes::Settings,
    /// Greatest number of bind requests under way at once.
    pub binds_in_flight_max: usize,
    /// Greatest number of pods in one bulk bind request.
    pub bind_batch_max: usize,
    /// Greatest number of decisions before other work gets its turn.
    pub decisions_per_turn: usize,
    /// Greatest number of conditions and events being written at once.
    pub notes_in_flight_max: usize,
}

impl Config {
    /// What kube-scheduler does by default, for pods of `default-scheduler`.
    pub fn upstream() -> Config {
        Config {
            profiles: vec![Profile { name: "default-scheduler".to_owned(), rules: Rules::upstream() }],
            configuration: None,
            classes: sched_classes::Settings::default(),
            binds_in_flight_max: 32,
            bind_batch_max: 256,
            decisions_per_turn: 128,
            notes_in_flight_max: 16,
        }
    }

    /// The same, and the profile `knarr` beside it: for pods that name it, by the same rules and whatever
    /// [`Steps`](crate::Steps) add.
    pub fn ours() -> Config {
        Config::upstream().with_ours()
    }

    fn with_ours(mut self) -> Config {
        if self.profiles.iter().all(|p| p.name != OURS) {
            self.profiles.push(Profile { name: OURS.to_owned(), rules: Rules::upstream() });
        }
        self
    }

    /// The profiles of a KubeSchedulerConfiguration, `knarr` beside them unless it is one of them, and notes on what it says that makes no difference here.
    ///
    /// # Errors
    /// When it cannot be read, or asks for what this scheduler does not do.
    pub fn of_upstream(configuration: &Value) -> Result<(Config, Vec<String>), ConfigError> {
        let Configuration { profiles, notes } = Configuration::read(configuration)?;
        let configuration = Some(configuration.clone());
        Ok((Config { profiles, configuration, ..Config::upstream() }.with_ours(), notes))
    }
}

impl Default for Config {
    fn default() -> Config {
        Config::ours()
    }
}

/// What a scheduler must be allowed to do.
pub fn permissions() -> Vec<Permission> {
    let read: &[&str] = &["get", "list", "watch"];
    let row = |group, resource, verbs| Permission { group, resource, verbs };
    vec![
        row("", "pods", read),
        row("", "nodes", read),
        row("", "namespaces", read),
        row("scheduling.sigs.k8s.io", "elasticquotas", read),
        row("scheduling.sigs.k8s.io", "podgroups", read),
        row("scheduling.k8s.io", "podgroups", read),
        row("slo.koordinator.sh", "nodemetrics", read),
        row("topology.node.k8s.io", "noderesourcetopologies", read),
        row("scheduling.koordinator.sh", "devices", read),
        row("policy", "poddisruptionbudgets", read),
        row("", "persistentvolumeclaims", read),
        row("", "persistentvolumeclaims", &["patch"]),
        row("", "persistentvolumes", read),
        row("", "persistentvolumes", &["patch"]),
        row("storage.k8s.io", "storageclasses", read),
        row("storage.k8s.io", "csinodes", read),
        row("", "pods", &["delete"]),
        row("", "pods/binding", &["create"]),
        row("knarr.dev", "bindings", &["create"]),
        row("", "pods/status", &["patch", "update"]),
        row("", "events", &["create", "patch", "update"]),
        row("events.k8s.io", "events", &["create", "patch", "update"]),
    ]
}
