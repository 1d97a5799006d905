//! FlowSchemas and PriorityLevelConfigurations as the gate reads them. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::fair::Shape;
use crate::who::User;

/// Names of the components of this program begin so.
const COMPONENTS: &str = "system:knarr:";
/// Their level: beside those of the objects, so that these are exactly upstream's. They ask no more than they can take in, so their
/// queues are long.
const OWN: &str = "knarr-components";
const OWN_SHAPE: Shape =
    Shape { seats: 200, lendable: 100, borrows_max: None, queues: 64, hand: 8, queue_length_max: 2_000 };

/// The rules in force.
#[derive(Clone, Debug, Default)]
pub(super) struct Config {
    /// In the order in which they are tried.
    schemas: Vec<Schema>,
    levels: BTreeMap<Arc<str>, LevelRow>,
}

#[derive(Clone, Debug)]
struct LevelRow {
    uid: Arc<str>,
    /// Nothing when it is exempt.
    shape: Option<Shape>,
}

/// Which requests go to which level.
#[derive(Clone, Debug)]
struct Schema {
    name: Arc<str>,
    uid: Arc<str>,
    precedence: i64,
    level: Arc<str>,
    by: Distinguisher,
    rules: Vec<Rule>,
}

/// What tells flows of one schema apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Distinguisher {
    None,
    User,
    Namespace,
}

#[derive(Clone, Debug)]
struct Rule {
    subjects: Vec<Subject>,
    resources: Vec<ResourceRule>,
    paths: Vec<PathRule>,
}

#[derive(Clone, Debug)]
enum Subject {
    User(String),
    Group(String),
    Account { namespace: String, name: String },
}

#[derive(Clone, Debug)]
struct ResourceRule {
    verbs: Vec<String>,
    groups: Vec<String>,
    resources: Vec<String>,
    is_cluster_wide: bool,
    namespaces: Vec<String>,
}

#[derive(Clone, Debug)]
struct PathRule {
    verbs: Vec<String>,
    paths: Vec<String>,
}

/// A request as rules see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) user: &'a User,
    pub(crate) verb: &'a str,
    /// Path of what is no resource; empty for resources.
    pub(crate) path: &'a str,
    pub(crate) group: &'a str,
    /// With its subresource after a slash.
    pub(crate) resource: &'a str,
    /// Empty for the whole cluster.
    pub(crate) namespace: &'a str,
}

/// Where a request belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flow {
    /// Name of its schema; of this program's own components, that of their level.
    pub(super) schema: Arc<str>,
    /// Its level; nothing when the level is exempt.
    pub(super) level: Option<Arc<str>>,
    /// Hash of schema and distinguisher: equal within a flow.
    pub(super) hash: u64,
    pub(super) schema_uid: Arc<str>,
    pub(super) level_uid: Arc<str>,
}

impl Config {
    /// Reads the objects; `seats` are shared out among the levels by their shares. What cannot be read is left out.
    pub(super) fn of<'a>(
        schemas: impl IntoIterator<Item = &'a Value>,
        levels: impl IntoIterator<Item = &'a Value>,
        seats: u32,
    ) -> Config {
        let levels: Vec<&Value> = levels.into_iter().collect();
        let all: i64 = levels.iter().map(|l| shares(l)).sum();
        let levels: BTreeMap<Arc<str>, LevelRow> =
            levels.into_iter().map(|l| (text(&l["metadata"]["name"]).into(), level(l, all, seats))).collect();
        let mut schemas: Vec<Schema> =
            schemas.into_iter().map(schema).filter(|s| levels.contains_key(&s.level)).collect();
        schemas.sort_by(|a, b| (a.precedence, &a.name).cmp(&(b.precedence, &b.name)));
        Config { schemas, levels }
    }

    /// The shapes of all levels that are not exempt, and of the components' own.
    pub(super) fn shapes(&self) -> BTreeMap<Arc<str>, Shape> {
        let limited = self.levels.iter().filter_map(|(name, row)| Some((name.clone(), row.shape.clone()?)));
        limited.chain([(OWN.into(), OWN_SHAPE)]).collect()
    }

    /// Where a request belongs; nothing when no rule knows it.
    pub(super) fn flow(&self, asked: &Asked<'_>) -> Option<Flow> {
        if asked.user.name.starts_with(COMPONENTS) {
            let (level, hash) = (Some(OWN.into()), hash(&[OWN, &asked.user.name]));
            return Some(Flow {
                schema: OWN.into(),
                level,
                hash,
                schema_uid: "".into(),
                level_uid: "".into(),
            });
        }
        let schema = self.schemas.iter().find(|s| s.rules.iter().any(|r| r.matches(asked)))?;
        let row = self.levels.get(&schema.level)?;
        let distinguisher = match schema.by {
            Distinguisher::None => "",
            Distinguisher::User => &asked.user.name,
            Distinguisher::Namespace => asked.namespace,
        };
        Some(Flow {
            schema: schema.name.clone(),
            level: row.shape.as_ref().map(|_| schema.level.clone()),
            hash: hash(&[&schema.name, distinguisher]),
            schema_uid: schema.uid.clone(),
            level_uid: row.uid.clone(),
        })
    }
}

/// FNV-1a over texts, each with its end, and mixed once more: queues are dealt by its low digits.
fn hash(texts: &[&str]) -> u64 {
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let bytes = texts.iter().flat_map(|t| t.bytes().chain([0xff]));
    let sum = bytes.fold(0xcbf2_9ce4_8422_2325, |sum, b| (sum ^ u64::from(b)).wrapping_mul(PRIME));
    (sum ^ (sum >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn list<T>(value: &Value, read: impl Fn(&Value) -> Option<T>) -> Vec<T> {
    value.as_array().into_iter().flatten().filter_map(read).collect()
}

fn shares(level: &Value) -> i64 {
    level["spec"]["limited"]["nominalConcurrencyShares"].as_i64().unwrap_or(0).max(0)
}

fn level(object: &Value, all: i64, seats: u32) -> LevelRow {
    let spec = &object["spec"];
    let uid = text(&object["metadata"]["uid"]).into();
    if spec["type"] == "Exempt" {
        return LevelRow { uid, shape: None };
    }
    let limited = &spec["limited"];
    let part = |of: u64, share: i64, whole: i64| {
        let share = u64::try_from(share).unwrap_or(0);
        let whole = u64::try_from(whole).unwrap_or(0).max(1);
        u32::try_from((of * share).div_ceil(whole)).unwrap_or(u32::MAX)
    };
    let own = part(u64::from(seats), shares(object), all);
    let response = &limited["limitResponse"];
    let count = |name: &str, default: i64| {
        let given = response["queuing"][name].as_i64().unwrap_or(default);
        usize::try_from(given).unwrap_or(0)
    };
    let is_queued = response["type"] == "Queue";
    let shape = Shape {
        seats: own,
        lendable: part(u64::from(own), limited["lendablePercent"].as_i64().unwrap_or(0).min(100), 100)
            .min(own),
        borrows_max: limited["borrowingLimitPercent"]
            .as_i64()
            .map(|percent| part(u64::from(own), percent, 100)),
        queues: if is_queued { count("queues", 64) } else { 0 },
        hand: count("handSize", 8),
        queue_length_max: count("queueLengthLimit", 50),
    };
    LevelRow { uid, shape: Some(shape) }
}

fn schema(object: &Value) -> Schema {
    let spec = &object["spec"];
    let by = match text(&spec["distinguisherMethod"]["type"]) {
        "ByUser" => Distinguisher::User,
        "ByNamespace" => Distinguisher::Namespace,
        _ => Distinguisher::None,
    };
    Schema {
        name: text(&object["metadata"]["name"]).into(),
        uid: text(&object["metadata"]["uid"]).into(),
        precedence: spec["matchingPrecedence"].as_i64().unwrap_or(1000),
        level: text(&spec["priorityLevelConfiguration"]["name"]).into(),
        by,
        rules: list(&spec["rules"], |rule| {
            Some(Rule {
                subjects: list(&rule["subjects"], subject),
                resources: list(&rule["resourceRules"], |r| Some(resource_rule(r))),
                paths: list(&rule["nonResourceRules"], |r| {
                    Some(PathRule { verbs: texts(&r["verbs"]), paths: texts(&r["nonResourceURLs"]) })
                }),
            })
        }),
    }
}

fn subject(value: &Value) -> Option<Subject> {
    match text(&value["kind"]) {
        "User" => Some(Subject::User(text(&value["user"]["name"]).to_owned())),
        "Group" => Some(Subject::Group(text(&value["group"]["name"]).to_owned())),
        "ServiceAccount" => {
            let part = |name: &str| text(&value["serviceAccount"][name]).to_owned();
            Some(Subject::Account { namespace: part("namespace"), name: part("name") })
        }
        _ => None,
    }
}

fn resource_rule(rule: &Value) -> ResourceRule {
    ResourceRule {
        verbs: texts(&rule["verbs"]),
        groups: texts(&rule["apiGroups"]),
        resources: texts(&rule["resources"]),
        is_cluster_wide: rule["clusterScope"].as_bool().unwrap_or(false),
        namespaces: texts(&rule["namespaces"]),
    }
}

fn has(all: &[String], one: &str) -> bool {
    all.iter().any(|a| a == "*" || a == one)
}

impl Rule {
    fn matches(&self, asked: &Asked<'_>) -> bool {
        let fits = if asked.path.is_empty() {
            self.resources.iter().any(|r| r.matches(asked))
        } else {
            self.paths.iter().any(|r| r.matches(asked))
        };
        fits && self.subjects.iter().any(|s| s.is(asked.user))
    }
}

impl Subject {
    fn is(&self, user: &User) -> bool {
        match self {
            Subject::User(name) => name == "*" || *name == user.name,
            Subject::Group(name) => name == "*" || user.is_in(name),
            Subject::Account { namespace, name } => {
                let words =
                    user.name.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
                words.is_some_and(|(ns, account)| ns == namespace && (name == "*" || name == account))
            }
        }
    }
}

impl ResourceRule {
    fn matches(&self, asked: &Asked<'_>) -> bool {
        let reaches = if asked.namespace.is_empty() {
            self.is_cluster_wide
        } else {
            has(&self.namespaces, asked.namespace)
        };
        reaches
            && has(&self.verbs, asked.verb)
            && has(&self.groups, asked.group)
            && has(&self.resources, asked.resource)
    }
}

impl PathRule {
    fn matches(&self, asked: &Asked<'_>) -> bool {
        let covers = |path: &String| match path.strip_suffix('*') {
            Some(start) => asked.path.starts_with(start),
            None => asked.path == path,
        };
        has(&self.verbs, asked.verb) && self.paths.iter().any(covers)
    }
}

#[cfg(test)]
mod tests {
    use super::super::bootstrap;
    use super::*;

    fn shipped() -> Config {
        let (levels, schemas): (Vec<Value>, Vec<Value>) =
            bootstrap::objects().into_iter().partition(|o| o["kind"] == "PriorityLevelConfiguration");
        Config::of(&schemas, &levels, 600)
    }

    fn level(user: &User, verb: &str, group: &str, resource: &str, namespace: &str) -> String {
        let asked = Asked { user, verb, path: "", group, resource, namespace };
        shipped().flow(&asked).unwrap().level.map_or("exempt".to_owned(), |l| l.to_string())
    }

    #[test]
    fn everybody_has_the_lane_that_upstream_gives() {
        let node = User::new("system:node:n", &["system:nodes"]);
        assert_eq!(level(&node, "update", "coordination.k8s.io", "leases", "kube-node-lease"), "node-high");
        assert_eq!(level(&node, "patch", "", "nodes/status", ""), "node-high");
        assert_eq!(level(&node, "list", "", "pods", ""), "system");
        let master = User::new("a", &["system:masters"]);
        assert_eq!(level(&master, "list", "", "pods", ""), "exempt");
        let account = User::new("system:serviceaccount:shop:web", &["system:serviceaccounts"]);
        assert_eq!(level(&account, "get", "", "pods", "shop"), "workload-low");
        let scheduler = User::new("system:kube-scheduler", &[]);
        assert_eq!(
            level(&scheduler, "update", "coordination.k8s.io", "leases", "kube-system"),
            "leader-election"
        );
        assert_eq!(level(&scheduler, "create", "", "pods/binding", "shop"), "workload-high");
        assert_eq!(level(&User::new("jane", &[]), "list", "", "pods", ""), "global-default");
        assert_eq!(
            level(&User::new("system:knarr:scheduler", &[]), "list", "", "pods", ""),
            "knarr-components"
        );
    }

    #[test]
    fn probes_are_exempt() {
        let user = User::anonymous();
        let asked = |path| Asked { user: &user, verb: "get", path, group: "", resource: "", namespace: "" };
        assert_eq!(shipped().flow(&asked("/readyz")).unwrap().level, None);
        assert_eq!(shipped().flow(&asked("/version")).unwrap().level.as_deref(), Some("global-default"));
    }

    #[test]
    fn flows_are_told_apart_as_the_schema_says() {
        let config = shipped();
        let of = |user: &User, namespace| {
            let asked = Asked { user, verb: "get", path: "", group: "", resource: "pods", namespace };
            config.flow(&asked).unwrap().hash
        };
        let (jane, joe) = (User::new("jane", &[]), User::new("joe", &[]));
        assert_eq!(of(&jane, "a"), of(&jane, "b"));
        assert_ne!(of(&jane, "a"), of(&joe, "a"));
        let scheduler = User::new("system:kube-scheduler", &[]);
        assert_ne!(of(&scheduler, "a"), of(&scheduler, "b"));
    }

    #[test]
    fn seats_are_shared_out_by_shares() {
        let shapes = shipped().shapes();
        let total: u32 = shapes.values().map(|s| s.seats).sum::<u32>() - OWN_SHAPE.seats;
        assert!((600..=600 + shapes.len() as u32).contains(&total), "{total}");
        assert!(!shapes.contains_key("exempt"));
        let low = &shapes["workload-low"];
        assert!(low.lendable < low.seats && low.lendable > low.seats / 2);
        assert_eq!((low.queues, low.hand, low.queue_length_max, low.borrows_max), (128, 6, 50, None));
        assert_eq!(shapes["catch-all"].queues, 0);
    }
}
