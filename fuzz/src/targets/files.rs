//! Files that people give: traces, recordings, manifests of simulations, configurations of the scheduler, tokens.

use apiserver::auth::Authenticator;
use sched_plugins::Configuration;
use serde_json::Value;
use simulate::openb::Trace;
use simulate::{Source, cluster};

use super::{Target, seeds};
use crate::parts::texts;

pub(super) fn targets() -> Vec<Target> {
    vec![
        Target {
            name: "openb",
            run: openb,
            seeds: || {
                seeds(&[
                    "sn,cpu_milli,memory_mib,gpu,model\nn1,64000,262144,2,P100\nn2,96000,393216,0,\n\0name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos\np1,12000,16384,1,460,V100M16|V100M32,LS\np2,6000,12288,0,0,,BE\n",
                ])
            },
            words: &["gpu_milli", "num_gpu", "gpu_spec", "creation_time", "T4", "A10", "|", "1000", "\r\n"],
        },
        Target {
            name: "recording",
            run: recording,
            seeds: || {
                let head = cluster::Recorder::head(stdx::Time::from_secs(1_577_836_800));
                let lines = "{\"at\":\"2020-01-01T00:00:00Z\",\"type\":\"ADDED\",\"object\":{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"n\"},\"status\":{\"allocatable\":{\"cpu\":\"4\"}}}}\n{\"at\":\"2020-01-01T00:00:05Z\",\"type\":\"ADDED\",\"object\":{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\",\"namespace\":\"d\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":{\"requests\":{\"cpu\":\"1\"}}}]}}}\n";
                seeds(&[&format!("{head}\n{lines}"), &head])
            },
            words: &[
                "\"at\":",
                "\"type\":",
                "ADDED",
                "MODIFIED",
                "DELETED",
                "Node",
                "Pod",
                "Namespace",
                "metadata",
            ],
        },
        Target {
            name: "manifests",
            run: manifests,
            seeds: || {
                seeds(&[
                    "kind: Node\nmetadata:\n  name: n\n  annotations: {simulation.knarr.dev/count: \"3\", simulation.knarr.dev/at: 30s}\nstatus:\n  allocatable: {cpu: 4}\n",
                    "kind: Deployment\nmetadata: {name: d, annotations: {simulation.knarr.dev/every: 1.5m}}\nspec:\n  replicas: 2\n  template:\n    metadata: {annotations: {simulation.knarr.dev/lifetime: 1h30m}}\n    spec: {containers: [{name: a}]}\n",
                ])
            },
            words: &[
                "simulation.knarr.dev/",
                "at",
                "every",
                "lifetime",
                "count",
                "1h",
                "ms",
                "kind: ",
                "&a",
                "*a",
                "<<: ",
            ],
        },
        Target {
            name: "scheduler",
            run: scheduler,
            seeds: || {
                seeds(&[
                    "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\nprofiles:\n- schedulerName: a\n  plugins:\n    score:\n      disabled: [{name: '*'}]\n      enabled: [{name: NodeResourcesFit, weight: 3}]\n  pluginConfig:\n  - name: NodeResourcesFit\n    args: {scoringStrategy: {type: RequestedToCapacityRatio, resources: [{name: cpu, weight: 1}], requestedToCapacityRatio: {shape: [{utilization: 0, score: 0}, {utilization: 100, score: 10}]}}}\n",
                    "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\nprofiles:\n- pluginConfig:\n  - name: PodTopologySpread\n    args: {defaultingType: List, defaultConstraints: [{maxSkew: 1, topologyKey: z, whenUnsatisfiable: ScheduleAnyway}]}\n  - name: InterPodAffinity\n    args: {hardPodAffinityWeight: 5}\n",
                ])
            },
            words: &[
                "profiles",
                "plugins",
                "pluginConfig",
                "multiPoint",
                "score",
                "filter",
                "enabled",
                "disabled",
                "name",
                "weight",
                "args",
                "NodeAffinity",
                "addedAffinity",
                "LeastAllocated",
                "MostAllocated",
                "shape",
                "ignoredResources",
                "percentageOfNodesToScore",
                "extenders",
                "NodeResourcesBalancedAllocation",
            ],
        },
        Target {
            name: "tokens",
            run: tokens,
            seeds: || seeds(&["t,u,1\n\"t2\",u2,2,\"g1,g2\"\n# c\n\nBearer t2", "t,u,1,g\nbearer  t"]),
            words: &["\"", "\"\"", ",", "\n", "#", "Bearer ", "."],
        },
    ]
}

fn source<'a>(name: &'a str, text: &'a str) -> Source<'a> {
    Source { name, text }
}

fn openb(data: &[u8]) {
    let Some([nodes, pods]) = texts(data) else { return };
    match Trace::read(source("nodes", nodes), source("pods", pods)) {
        Ok(trace) => drop((trace.mix(), trace.devices_milli(), trace.node("n1"), trace.pod("p1"))),
        Err(wrong) => drop(wrong.to_string()),
    }
}

fn recording(data: &[u8]) {
    let Some([text]) = texts(data) else { return };
    for keep_bound in [false, true] {
        match cluster::from_recording(source("recording", text), keep_bound) {
            Ok(story) => assert!(story.has_nodes()),
            Err(wrong) => drop(wrong.to_string()),
        }
    }
}

/// One YAML document, as the command line reads it. Its parser takes time in proportion to the depth of brackets, which the server
/// bounds and people's own files do not need to.
fn yaml(text: &str) -> Option<Value> {
    if text.bytes().filter(|b| matches!(b, b'[' | b'{')).count() > 1000 {
        return None;
    }
    serde_yaml_ng::from_str(text).ok()
}

fn manifests(data: &[u8]) {
    let Some([text]) = texts(data) else { return };
    let Some(mut manifest) = yaml(text) else { return };
    // A million copies are allowed, and take what they take.
    let count = "/metadata/annotations/simulation.knarr.dev~1count";
    if let Some(count) = manifest.pointer_mut(count)
        && count.as_str().is_some_and(|c| c.len() > 2)
    {
        *count = "20".into();
    }
    for path in ["/spec/replicas", "/spec/completions"] {
        if let Some(count) = manifest.pointer_mut(path)
            && count.as_i64().is_some_and(|c| c > 20)
        {
            *count = 20.into();
        }
    }
    let _ = cluster::from_manifests("m", &[manifest]);
}

fn scheduler(data: &[u8]) {
    let Some([text]) = texts(data) else { return };
    let Some(config) = yaml(text) else { return };
    match Configuration::read(&config) {
        Ok(read) => assert!(!read.profiles.is_empty()),
        Err(wrong) => drop(wrong.to_string()),
    }
}

/// A token file; its last line is the header of a request.
fn tokens(data: &[u8]) {
    let Some([text]) = texts(data) else { return };
    let (file, header) = text.rsplit_once('\n').unwrap_or((text, ""));
    let mut known = Authenticator::new();
    if let Err(wrong) = known.add_file(file) {
        let _ = wrong.to_string();
    }
    let _ = known.user(Some(header), None);
}
