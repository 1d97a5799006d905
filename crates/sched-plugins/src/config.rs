//! Reads kube-scheduler's configuration (`kubescheduler.config.k8s.io/v1`): which profiles there are and how their scores weigh.
//!
//! What is read but cannot matter here (sampling, parallelism) is named in notes. What would change decisions and is not there
//! is an error, never ignored: a scheduler that decides otherwise than its configuration says is worse than none.

use std::sync::Arc;

use serde_json::Value;

use crate::{DefaultSpread, Rules, Weights};

/// Profiles by the names that pods carry in `spec.schedulerName`.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// At least one.
    pub profiles: Vec<Profile>,
    /// What was read and makes no difference, for people.
    pub notes: Vec<String>,
}

/// One profile.
#[derive(Clone, Debug)]
pub struct Profile {
    /// For pods whose `spec.schedulerName` this is.
    pub name: String,
    /// Its rules.
    pub rules: Rules,
}

/// Why a configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Another kind or version.
    #[error("expected kind KubeSchedulerConfiguration of kubescheduler.config.k8s.io/v1: {0}")]
    Kind(String),
    /// A field has the wrong shape.
    #[error("{field}: {found}")]
    Shape {
        /// Its path.
        field: String,
        /// What is there.
        found: String,
    },
    /// It asks for something that this scheduler does not do.
    #[error("{field}: not supported: {value}")]
    Unsupported {
        /// Path of what asks for it.
        field: String,
        /// What it asks for.
        value: String,
    },
    /// Two profiles of one name.
    #[error("two profiles have the schedulerName {0}")]
    Twice(String),
}

const VERSION: &str = "kubescheduler.config.k8s.io/v1";
/// The plugins of upstream's default profile that are here.
const KNOWN: [&str; 18] = [
    "SchedulingGates",
    "PrioritySort",
    "NodeUnschedulable",
    "NodeName",
    "TaintToleration",
    "NodeAffinity",
    "NodePorts",
    "NodeResourcesFit",
    "VolumeRestrictions",
    "NodeVolumeLimits",
    "VolumeBinding",
    "VolumeZone",
    "PodTopologySpread",
    "InterPodAffinity",
    "NodeResourcesBalancedAllocation",
    "ImageLocality",
    "DefaultPreemption",
    "DefaultBinder",
];
/// Fields that make no difference: all nodes are scored, on one thread, and there is one scheduler.
const HARMLESS: [&str; 4] = ["percentageOfNodesToScore", "parallelism", "leaderElection", "clientConnection"];
/// Fields that are as here already, or refused.
const FIXED: [(&str, u64); 2] = [("podInitialBackoffSeconds", 1), ("podMaxBackoffSeconds", 10)];

impl Configuration {
    /// Reads a configuration as on the wire.
    ///
    /// # Errors
    /// When it is another kind, ill-shaped, or asks for what is not here.
    pub fn read(config: &Value) -> Result<Configuration, ConfigError> {
        let (kind, version) = (text(config, "kind"), text(config, "apiVersion"));
        if (kind, version) != ("KubeSchedulerConfiguration", VERSION) {
            return Err(ConfigError::Kind(format!("{kind} of {version}")));
        }
        let notes = HARMLESS.iter().filter(|field| !config[**field].is_null());
        let notes = notes.map(|field| format!("{field}: read, makes no difference here")).collect();
        for (field, here) in FIXED {
            if !config[field].is_null() && config[field] != here {
                return Err(unsupported(field, &config[field].to_string()));
            }
        }
        if list(config, "extenders", "extenders")?.next().is_some() {
            return Err(unsupported("extenders", "extenders"));
        }
        let mut profiles: Vec<Profile> = Vec::new();
        for (i, profile) in list(config, "profiles", "profiles")?.enumerate() {
            let profile = read_profile(profile, &format!("profiles[{i}]"))?;
            if profiles.iter().any(|p| p.name == profile.name) {
                return Err(ConfigError::Twice(profile.name));
            }
            profiles.push(profile);
        }
        if profiles.is_empty() {
            profiles.push(Profile { name: "default-scheduler".into(), rules: Rules::upstream() });
        }
        Ok(Configuration { profiles, notes })
    }
}

fn read_profile(profile: &Value, at: &str) -> Result<Profile, ConfigError> {
    let name = match text(profile, "schedulerName") {
        "" => "default-scheduler",
        name => name,
    };
    if !profile["percentageOfNodesToScore"].is_null() && !profile["percentageOfNodesToScore"].is_u64() {
        return Err(shape(&format!("{at}.percentageOfNodesToScore"), &profile["percentageOfNodesToScore"]));
    }
    let mut rules = Rules::upstream();
    read_plugins(&profile["plugins"], &format!("{at}.plugins"), &mut rules.weights)?;
    for (i, config) in list(profile, "pluginConfig", at)?.enumerate() {
        read_args(config, &format!("{at}.pluginConfig[{i}]"), &mut rules)?;
    }
    if !rules.weights.are_in_range() {
        return Err(unsupported(&format!("{at}.plugins"), "weights of more than 80 together, or below zero"));
    }
    Ok(Profile { name: name.to_owned(), rules })
}

fn read_plugins(plugins: &Value, at: &str, weights: &mut Weights) -> Result<(), ConfigError> {
    let Some(points) = plugins.as_object() else {
        return if plugins.is_null() { Ok(()) } else { Err(shape(at, plugins)) };
    };
    // At `score` a plugin can be set apart from `multiPoint`, so that comes first.
    let mut points: Vec<_> = points.iter().collect();
    points.sort_by_key(|(point, _)| point.as_str() != "multiPoint");
    for (point, set) in points {
        let at = format!("{at}.{point}");
        for plugin in list(set, "disabled", &at)? {
            match (point.as_str(), text(plugin, "name")) {
                ("score", "*") => *weights = Weights::none(),
                ("score", name) => set_weight(weights, name, 0, &at)?,
                ("preScore" | "reserve" | "permit" | "preBind" | "postBind", _) => {}
                (_, name) => return Err(unsupported(&format!("{at}.disabled"), name)),
            }
        }
        for plugin in list(set, "enabled", &at)? {
            let weight = plugin["weight"].as_i64().filter(|w| *w != 0);
            match (point.as_str(), text(plugin, "name")) {
                ("score", name) => set_weight(weights, name, weight.unwrap_or(1), &at)?,
                ("multiPoint", name) if is_scored(name) => {
                    if let Some(weight) = weight {
                        set_weight(weights, name, weight, &at)?;
                    }
                }
                (_, name) if KNOWN.contains(&name) => {}
                (_, name) => return Err(unsupported(&format!("{at}.enabled"), name)),
            }
        }
    }
    Ok(())
}

fn is_scored(name: &str) -> bool {
    weight_of(&mut Weights::none(), name).is_some()
}

fn set_weight(weights: &mut Weights, name: &str, weight: i64, at: &str) -> Result<(), ConfigError> {
    *weight_of(weights, name).ok_or_else(|| unsupported(at, name))? = weight;
    Ok(())
}

fn weight_of<'a>(weights: &'a mut Weights, name: &str) -> Option<&'a mut i64> {
    Some(match name {
        "TaintToleration" => &mut weights.taint_toleration,
        "NodeAffinity" => &mut weights.node_affinity,
        "PodTopologySpread" => &mut weights.pod_topology_spread,
        "InterPodAffinity" => &mut weights.inter_pod_affinity,
        "NodeResourcesFit" => &mut weights.resources_fit,
        "NodeResourcesBalancedAllocation" => &mut weights.balanced_allocation,
        "ImageLocality" => &mut weights.image_locality,
        _ => return None,
    })
}

/// Arguments of one plugin: those that are upstream's defaults anyway are accepted, and default constraints of spreading.
fn read_args(config: &Value, at: &str, rules: &mut Rules) -> Result<(), ConfigError> {
    let (name, args, at) = (text(config, "name"), &config["args"], format!("{at}.args"));
    let usual = |field: &str, usual: &[Value]| {
        let value = &args[field];
        if value.is_null() || usual.contains(value) {
            return Ok(());
        }
        Err(unsupported(&format!("{at}.{field}"), &value.to_string()))
    };
    match name {
        "PodTopologySpread" => rules.default_spread = default_spread(args, &at)?,
        "InterPodAffinity" => {
            usual("hardPodAffinityWeight", &[1.into()])?;
            usual("ignorePreferredTermsOfExistingPods", &[false.into()])?;
        }
        "NodeResourcesFit" => {
            usual("ignoredResources", &[Value::Array(Vec::new())])?;
            usual("ignoredResourceGroups", &[Value::Array(Vec::new())])?;
            let strategy = &args["scoringStrategy"];
            if !strategy.is_null() && text(strategy, "type") != "LeastAllocated" {
                return Err(unsupported(&format!("{at}.scoringStrategy.type"), text(strategy, "type")));
            }
            usual_resources(&strategy["resources"], &format!("{at}.scoringStrategy.resources"))?;
        }
        "NodeResourcesBalancedAllocation" => usual_resources(&args["resources"], &format!("{at}.resources"))?,
        "NodeAffinity" => usual("addedAffinity", &[])?,
        "VolumeBinding" => usual("bindTimeoutSeconds", &[600.into()])?,
        // How many nodes upstream looks at before it stops; here all that matter are looked at in order.
        "DefaultPreemption" => {}
        other => return Err(unsupported(&at, other)),
    }
    Ok(())
}

/// CPU and memory with weight 1, in either order, or nothing.
fn usual_resources(resources: &Value, at: &str) -> Result<(), ConfigError> {
    let Some(list) = resources.as_array() else {
        return if resources.is_null() { Ok(()) } else { Err(shape(at, resources)) };
    };
    let mut names: Vec<&str> = list.iter().map(|r| text(r, "name")).collect();
    names.sort_unstable();
    let even = list.iter().all(|r| r["weight"].is_null() || r["weight"] == 1);
    if list.is_empty() || (names == ["cpu", "memory"] && even) {
        return Ok(());
    }
    Err(unsupported(at, &resources.to_string()))
}

fn default_spread(args: &Value, at: &str) -> Result<Vec<DefaultSpread>, ConfigError> {
    match text(args, "defaultingType") {
        "" | "System" if args["defaultConstraints"].as_array().is_none_or(Vec::is_empty) => {
            return Ok(DefaultSpread::upstream());
        }
        "List" => {}
        other => return Err(shape(&format!("{at}.defaultingType"), &Value::from(other))),
    }
    let mut out = Vec::new();
    for (i, c) in list(args, "defaultConstraints", at)?.enumerate() {
        let at = format!("{at}.defaultConstraints[{i}]");
        if text(c, "whenUnsatisfiable") != "ScheduleAnyway" {
            return Err(unsupported(&format!("{at}.whenUnsatisfiable"), text(c, "whenUnsatisfiable")));
        }
        let max_skew = c["maxSkew"].as_i64().filter(|n| *n > 0);
        let max_skew = max_skew.ok_or_else(|| shape(&format!("{at}.maxSkew"), &c["maxSkew"]))?;
        out.push(DefaultSpread { topology: Arc::from(text(c, "topologyKey")), max_skew });
    }
    Ok(out)
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn list<'a>(value: &'a Value, field: &str, at: &str) -> Result<impl Iterator<Item = &'a Value>, ConfigError> {
    match &value[field] {
        Value::Null => Ok(<&[Value]>::default().iter()),
        Value::Array(list) => Ok(list.iter()),
        other => Err(shape(&format!("{at}.{field}"), other)),
    }
}

fn shape(field: &str, found: &Value) -> ConfigError {
    ConfigError::Shape { field: field.to_owned(), found: found.to_string() }
}

fn unsupported(field: &str, value: &str) -> ConfigError {
    ConfigError::Unsupported { field: field.to_owned(), value: value.to_owned() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(profile: Value) -> Result<Profile, ConfigError> {
        let config =
            json!({"apiVersion": VERSION, "kind": "KubeSchedulerConfiguration", "profiles": [profile]});
        Configuration::read(&config).map(|c| c.profiles[0].clone())
    }

    fn refused(profile: Value) -> String {
        read(profile).map(|p| format!("{p:?}")).unwrap_err().to_string()
    }

    #[test]
    fn without_profiles_there_is_upstream_s_own() {
        let config = json!({"apiVersion": VERSION, "kind": "KubeSchedulerConfiguration", "percentageOfNodesToScore": 50});
        let config = Configuration::read(&config).unwrap();
        assert_eq!(
            (&*config.profiles[0].name, &config.profiles[0].rules.weights),
            ("default-scheduler", &Weights::upstream())
        );
        assert_eq!(config.notes, ["percentageOfNodesToScore: read, makes no difference here"]);
        let other = json!({"apiVersion": "kubescheduler.config.k8s.io/v1beta3", "kind": "KubeSchedulerConfiguration"});
        assert!(matches!(Configuration::read(&other), Err(ConfigError::Kind(_))));
    }

    #[test]
    fn weights_are_set_at_score_or_for_all_points_at_once() {
        let plugins = json!({
            "score": {"disabled": [{"name": "NodeResourcesFit"}], "enabled": [{"name": "TaintToleration", "weight": 7}]},
            "multiPoint": {"enabled": [{"name": "NodeAffinity", "weight": 5}, {"name": "TaintToleration", "weight": 9}]},
        });
        let profile = read(json!({"schedulerName": "mine", "plugins": plugins})).unwrap();
        let expected =
            Weights { taint_toleration: 7, node_affinity: 5, resources_fit: 0, ..Weights::upstream() };
        assert_eq!((&*profile.name, profile.rules.weights), ("mine", expected));
        let only = json!({"score": {"disabled": [{"name": "*"}], "enabled": [{"name": "NodeResourcesFit"}]}});
        let profile = read(json!({"plugins": only})).unwrap();
        assert_eq!(profile.rules.weights, Weights { resources_fit: 1, ..Weights::none() });
    }

    #[test]
    fn what_would_change_decisions_and_is_not_here_is_refused_by_name() {
        let strategy = json!({"pluginConfig": [{"name": "NodeResourcesFit", "args": {"scoringStrategy": {"type": "MostAllocated"}}}]});
        assert_eq!(
            refused(strategy),
            "profiles[0].pluginConfig[0].args.scoringStrategy.type: not supported: MostAllocated"
        );
        let filter = json!({"plugins": {"filter": {"disabled": [{"name": "NodePorts"}]}}});
        assert_eq!(refused(filter), "profiles[0].plugins.filter.disabled: not supported: NodePorts");
        let own = json!({"plugins": {"multiPoint": {"enabled": [{"name": "Coscheduling"}]}}});
        assert_eq!(refused(own), "profiles[0].plugins.multiPoint.enabled: not supported: Coscheduling");
        let heavy = json!({"plugins": {"score": {"enabled": [{"name": "NodeAffinity", "weight": 100}]}}});
        assert!(refused(heavy).contains("weights of more than 80"));
    }

    #[test]
    fn default_constraints_of_spreading_are_taken_over() {
        let args = json!({"defaultingType": "List", "defaultConstraints": [
            {"maxSkew": 2, "topologyKey": "rack", "whenUnsatisfiable": "ScheduleAnyway"}]});
        let profile = read(json!({"pluginConfig": [{"name": "PodTopologySpread", "args": args}]})).unwrap();
        let [one] = &profile.rules.default_spread[..] else { panic!("one constraint") };
        assert_eq!((&*one.topology, one.max_skew), ("rack", 2));
        let hard = json!({"defaultingType": "List", "defaultConstraints": [
            {"maxSkew": 2, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule"}]});
        assert!(
            refused(json!({"pluginConfig": [{"name": "PodTopologySpread", "args": hard}]}))
                .contains("DoNotSchedule")
        );
    }
}
