//! What objects cost: bytes and CPU of packing a body, and memory of an object with its place in the store.
//!
//! ```text
//! cargo bench -p store-mvcc --bench bodies              20,000 pods of 1,000 applications, four writes each
//! cargo bench -p store-mvcc --bench bodies -- FILE      the same of bodies in a file, one a line
//! ```
//!
//! Memory is what the system counts as resident, with the allocator that the server has.

#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program that measures and tells, no part of the pure crate"
)]

use std::fmt::Write as _;

use store_mvcc::{Body, Expect, Key, Mvcc, Op, Row, Window};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Pods of the run.
const PODS: usize = 20_000;
/// Applications they belong to.
const APPS: usize = 1_000;
/// Writes of each pod: its creation and three reports of its status.
const WRITES: usize = 4;

fn main() {
    let given = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let (bodies, name): (Vec<String>, String) = match given {
        Some(file) => {
            let text = std::fs::read_to_string(&file).expect("the file can be read");
            (text.lines().map(str::to_owned).collect(), file)
        }
        None => ((0..APPS).map(|app| pod(app, 0, 3)).collect(), "pods of as many applications".to_owned()),
    };
    pack(&bodies, &name);
    hold();
}

fn pack(bodies: &[String], name: &str) {
    const ROUNDS: usize = 20;
    let plain: usize = bodies.iter().map(String::len).sum();
    let started = cpu_micros();
    let mut packed = Vec::new();
    for _ in 0..ROUNDS {
        packed = bodies.iter().map(|b| Body::pack(b.as_bytes())).collect();
    }
    let (count, rounds) = (bodies.len(), ROUNDS * bodies.len());
    let each = |bytes: usize| bytes as f64 / count as f64;
    let micros = |from: f64| (cpu_micros() - from) / rounds as f64;
    println!("{count} {name}: {:.0} bytes each", each(plain));
    println!(
        "pack: {:.0} bytes each, {:.1} us CPU",
        each(packed.iter().map(|b| b.packed().len()).sum()),
        micros(started)
    );
    let started = cpu_micros();
    for _ in 0..ROUNDS {
        for (body, plain) in packed.iter().zip(bodies) {
            assert_eq!(body.unpack().expect("it was packed just now").len(), plain.len());
        }
    }
    println!("unpack: {:.1} us CPU", micros(started));
}

fn hold() {
    for (window, what) in [
        (Window { events_max: 0, bytes_max: 0 }, "live objects alone"),
        (Window::default(), "with the window of history"),
    ] {
        let before = resident();
        let mut mvcc = Mvcc::new(window);
        for write in 0..WRITES {
            for n in 0..PODS {
                let app = n % APPS;
                let body = pod(app, n, write);
                let op = Op::Put {
                    key: Key::new("pods", "shop", &format!("app-{app}-8gh82b2cr8-{n}")),
                    row: row(app, n, write),
                    body: Body::pack(body.as_bytes()),
                    expect: Expect::Any,
                };
                let ready = mvcc.propose([op]);
                mvcc.persisted(ready.persist[0].revision);
            }
        }
        let bytes = resident().saturating_sub(before);
        let stats = mvcc.stats();
        println!(
            "{what}: {:.0} bytes for each of {PODS} pods ({} events; by its own count {:.0} + {:.0})",
            bytes as f64 / PODS as f64,
            stats.history_events,
            stats.object_bytes as f64 / PODS as f64,
            stats.history_bytes as f64 / PODS as f64,
        );
    }
}

/// CPU of this process so far.
fn cpu_micros() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").expect("Linux tells");
    text.split_whitespace().next().and_then(|nanos| nanos.parse::<f64>().ok()).expect("a number") / 1e3
}

/// Resident bytes of this process.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("Linux tells");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<usize>().ok()).expect("a number of KiB") * 1024
}

fn row(app: usize, n: usize, write: usize) -> Row {
    let (app, node, ip) =
        (format!("app-{app}"), format!("node-{:05}", n % 200), format!("10.1.{}.{}", n / 250, n % 250));
    let labels = [
        ("app.kubernetes.io/component", "worker"),
        ("app.kubernetes.io/instance", app.as_str()),
        ("app.kubernetes.io/managed-by", "Helm"),
        ("app.kubernetes.io/name", app.as_str()),
        ("pod-template-hash", "8gh82b2cr8"),
    ];
    let phase = if write == 0 { "Pending" } else { "Running" };
    let fields = [
        ("spec.nodeName", node.as_str()),
        ("spec.restartPolicy", "Always"),
        ("spec.schedulerName", "default-scheduler"),
        ("spec.serviceAccountName", "default"),
        ("status.phase", phase),
        ("status.podIP", ip.as_str()),
    ];
    Row::new(&uid(n as u64), labels, fields)
}

/// Digits that nobody foresees.
fn hex(seed: u64, digits: usize) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = String::new();
    while out.len() < digits {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let _ = write!(out, "{state:016x}");
    }
    out.truncate(digits);
    out
}

fn uid(seed: u64) -> String {
    let h = hex(seed, 32);
    format!("{}-{}-{}-{}-{}", &h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..])
}

/// A pod of an application as it is stored after so many reports of its status.
fn pod(app: usize, n: usize, reports: usize) -> String {
    let containers = 1 + app % 3;
    let seed = app as u64 * 1000;
    let (mut spec, mut owned, mut status) = (String::new(), String::new(), String::new());
    for c in 0..containers {
        let (mut env, mut names) = (String::new(), String::new());
        for e in 0..(5 + (app + c) % 9) {
            let name = hex(seed + (c * 100 + e) as u64, 9).to_uppercase();
            let _ = write!(env, r#"{{"name":"V_{name}","value":"{}"}},"#, hex(seed + e as u64, 5 + e));
            let _ =
                write!(names, r#","k:{{\"name\":\"V_{name}\"}}":{{".":{{}},"f:name":{{}},"f:value":{{}}}}"#);
        }
        let image = format!("registry.example.com/team/app-{app}-{c}@sha256:{}", hex(seed + c as u64, 64));
        let _ = write!(
            spec,
            r#"{{"env":[{}],"image":"{image}","imagePullPolicy":"IfNotPresent","name":"c{c}","ports":[{{"containerPort":8080,"name":"http","protocol":"TCP"}}],"readinessProbe":{{"failureThreshold":3,"httpGet":{{"path":"/ready","port":"http","scheme":"HTTP"}},"periodSeconds":10,"successThreshold":1,"timeoutSeconds":2}},"resources":{{"limits":{{"cpu":"{}m","memory":"256Mi"}},"requests":{{"cpu":"100m","memory":"128Mi"}}}},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}},"#,
            env.trim_end_matches(','),
            100 + app % 900,
        );
        let _ = write!(
            owned,
            r#""k:{{\"name\":\"c{c}\"}}":{{".":{{}},"f:env":{{".":{{}}{names}}},"f:image":{{}},"f:imagePullPolicy":{{}},"f:name":{{}},"f:ports":{{".":{{}},"k:{{\"containerPort\":8080,\"protocol\":\"TCP\"}}":{{".":{{}},"f:containerPort":{{}},"f:name":{{}},"f:protocol":{{}}}}}},"f:readinessProbe":{{".":{{}},"f:failureThreshold":{{}},"f:httpGet":{{".":{{}},"f:path":{{}},"f:port":{{}},"f:scheme":{{}}}},"f:periodSeconds":{{}},"f:successThreshold":{{}},"f:timeoutSeconds":{{}}}},"f:resources":{{".":{{}},"f:limits":{{".":{{}},"f:cpu":{{}},"f:memory":{{}}}},"f:requests":{{".":{{}},"f:cpu":{{}},"f:memory":{{}}}}}},"f:terminationMessagePath":{{}},"f:terminationMessagePolicy":{{}}}},"#,
        );
        let _ = write!(
            status,
            r#"{{"containerID":"containerd://{}","image":"{image}","imageID":"{image}","lastState":{{}},"name":"c{c}","ready":{},"restartCount":0,"started":true,"state":{{"running":{{"startedAt":"2026-11-28T17:50:25Z"}}}}}},"#,
            hex(n as u64 + 7, 64),
            reports > 2,
        );
    }
    let of_kubelet = if reports == 0 {
        String::new()
    } else {
        r#",{"apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:status":{"f:conditions":{".":{},"k:{\"type\":\"Ready\"}":{".":{},"f:lastProbeTime":{},"f:lastTransitionTime":{},"f:status":{},"f:type":{}}},"f:containerStatuses":{},"f:hostIP":{},"f:phase":{},"f:podIP":{},"f:startTime":{}}},"manager":"kubelet","operation":"Update","subresource":"status","time":"2026-11-28T17:50:25Z"}"#.to_owned()
    };
    let status = if reports == 0 { String::new() } else { status };
    format!(
        r#"{{"kind":"Pod","apiVersion":"v1","metadata":{{"creationTimestamp":"2026-11-28T17:50:14Z","generation":1,"labels":{{"app.kubernetes.io/component":"worker","app.kubernetes.io/instance":"app-{app}","app.kubernetes.io/managed-by":"Helm","app.kubernetes.io/name":"app-{app}","pod-template-hash":"8gh82b2cr8"}},"managedFields":[{{"apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{{"f:metadata":{{"f:labels":{{".":{{}},"f:app.kubernetes.io/component":{{}},"f:app.kubernetes.io/instance":{{}},"f:app.kubernetes.io/managed-by":{{}},"f:app.kubernetes.io/name":{{}},"f:pod-template-hash":{{}}}}}},"f:spec":{{"f:containers":{{{}}},"f:dnsPolicy":{{}},"f:enableServiceLinks":{{}},"f:nodeName":{{}},"f:restartPolicy":{{}},"f:schedulerName":{{}},"f:securityContext":{{}},"f:terminationGracePeriodSeconds":{{}}}}}},"manager":"controller","operation":"Update","time":"2026-11-28T17:50:14Z"}}{of_kubelet}],"name":"app-{app}-8gh82b2cr8-{n}","namespace":"shop","ownerReferences":[{{"apiVersion":"apps/v1","blockOwnerDeletion":true,"controller":true,"kind":"ReplicaSet","name":"app-{app}-8gh82b2cr8","uid":"{}"}}],"uid":"{}"}},"spec":{{"containers":[{}],"dnsPolicy":"ClusterFirst","enableServiceLinks":true,"nodeName":"node-{:05}","preemptionPolicy":"PreemptLowerPriority","priority":0,"restartPolicy":"Always","schedulerName":"default-scheduler","securityContext":{{}},"serviceAccount":"default","serviceAccountName":"default","terminationGracePeriodSeconds":30,"tolerations":[{{"effect":"NoExecute","key":"node.kubernetes.io/not-ready","operator":"Exists","tolerationSeconds":300}},{{"effect":"NoExecute","key":"node.kubernetes.io/unreachable","operator":"Exists","tolerationSeconds":300}}]}},"status":{{"conditions":[{{"lastProbeTime":null,"lastTransitionTime":"2026-11-28T17:50:25Z","observedGeneration":1,"status":"{}","type":"Ready"}}],"containerStatuses":[{}],"hostIP":"10.0.0.{}","observedGeneration":1,"phase":"{}","podIP":"10.1.{}.{}","qosClass":"Burstable","startTime":"2026-11-28T17:50:25Z"}}}}"#,
        owned.trim_end_matches(','),
        uid(seed),
        uid(n as u64),
        spec.trim_end_matches(','),
        n % 200,
        if reports > 2 { "True" } else { "False" },
        status.trim_end_matches(','),
        n % 200,
        if reports > 0 { "Running" } else { "Pending" },
        n / 250,
        n % 250,
    )
}
