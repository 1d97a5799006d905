//! Limit ranges, quotas, pod security, claims that grow.

use serde_json::{Value, json};

use crate::fixture::{MAPS, PODS, World, config_map, pod};

const QUOTAS: &str = "/api/v1/namespaces/ns/resourcequotas";
const CLAIMS: &str = "/api/v1/namespaces/ns/persistentvolumeclaims";

/// A quota that somebody has counted.
async fn quota(w: &World, hard: Value, used: Value) {
    w.post(QUOTAS, json!({"metadata": {"name": "q"}, "spec": {"hard": hard}})).await.created();
    let status = json!({"status": {"hard": hard, "used": used}});
    w.patch(&format!("{QUOTAS}/q/status"), "merge", status).await.ok();
}

async fn used(w: &World) -> Value {
    w.get(&format!("{QUOTAS}/q")).await.ok()["status"]["used"].clone()
}

#[tokio::test(start_paused = true)]
async fn a_limit_range_fills_in_and_refuses() {
    let w = World::new().await;
    let range = json!({"metadata": {"name": "l"}, "spec": {"limits": [
        {"type": "Container", "max": {"cpu": "1"}, "default": {"cpu": "500m"}, "defaultRequest": {"cpu": "100m"}}
    ]}});
    let made = w.post("/api/v1/namespaces/ns/limitranges", range).await;
    assert!(made.warnings.is_empty());
    made.created();
    let given = w.post(PODS, pod("a")).await.created();
    let resources = &given["spec"]["containers"][0]["resources"];
    assert_eq!(*resources, json!({"limits": {"cpu": "500m"}, "requests": {"cpu": "100m"}}));
    let told = &given["metadata"]["annotations"]["kubernetes.io/limit-ranger"];
    assert_eq!(told, "LimitRanger plugin set: cpu request for container c; cpu limit for container c");
    let mut large = pod("b");
    large["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "2"}});
    let why = w.post(PODS, large).await.refused(403);
    assert_eq!(why, "pods \"b\" is forbidden: maximum cpu usage per Container is 1, but limit is 2");
}

#[tokio::test(start_paused = true)]
async fn a_quota_is_charged_and_given_back() {
    let w = World::new().await;
    quota(&w, json!({"pods": "2", "count/configmaps": "1"}), json!({"pods": "0", "count/configmaps": "0"}))
        .await;
    w.post(PODS, pod("a")).await.created();
    assert_eq!(used(&w).await["pods"], "1");
    // Neither a dry run nor what is refused later costs anything.
    w.post(&format!("{PODS}?dryRun=All"), pod("b")).await.created();
    assert_eq!(w.post(PODS, pod("a")).await.code, 409);
    assert_eq!(used(&w).await["pods"], "1");
    w.post(PODS, pod("b")).await.created();
    assert_eq!(
        w.post(PODS, pod("c")).await.refused(403),
        "pods \"c\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2"
    );
    w.post(MAPS, config_map("a", "1")).await.created();
    assert_eq!(w.post(MAPS, config_map("b", "1")).await.code, 403);
    assert_eq!(used(&w).await, json!({"pods": "2", "count/configmaps": "1"}));
}

#[tokio::test]
async fn however_many_create_at_once_a_quota_is_not_exceeded() {
    let w = World::new().await;
    quota(&w, json!({"pods": "7", "requests.cpu": "3"}), json!({"pods": "0", "requests.cpu": "0"})).await;
    let creates = (0..120).map(|i| {
        let w = w.clone();
        tokio::spawn(async move {
            let mut one = pod(&format!("p{i}"));
            // Of different sizes, so that either bound may be met first; every tenth name is taken.
            one["metadata"]["name"] = json!(format!("p{}", i / 10 * 10 + i % 9));
            one["spec"]["containers"][0]["resources"] =
                json!({"requests": {"cpu": format!("{}m", 100 + 37 * (i % 13))}});
            w.post(PODS, one).await.code
        })
    });
    let creates: Vec<_> = creates.collect();
    let mut codes = Vec::new();
    for create in creates {
        codes.push(create.await.unwrap());
    }
    assert!(codes.iter().all(|c| matches!(c, 201 | 403 | 409)), "{codes:?}");
    let pods = w.get(PODS).await.ok();
    let pods = pods["items"].as_array().unwrap();
    let milli = pods.iter().map(|p| {
        let cpu = p["spec"]["containers"][0]["resources"]["requests"]["cpu"].as_str().unwrap();
        cpu.parse::<api_meta::Quantity>().unwrap().milli()
    });
    let milli: i64 = milli.sum();
    assert!(pods.len() <= 7 && milli <= 3_000, "{} pods, {milli}m", pods.len());
    let used = used(&w).await;
    assert_eq!(used["pods"], json!(pods.len().to_string()), "what is used is what is there");
    let cpu: api_meta::Quantity = used["requests.cpu"].as_str().unwrap().parse().unwrap();
    assert_eq!(cpu.milli(), milli);
    assert_eq!(codes.iter().filter(|c| **c == 201).count(), pods.len());
}

#[tokio::test(start_paused = true)]
async fn a_service_that_changes_its_type_is_charged() {
    let w = World::new().await;
    let hard = json!({"services": "2", "services.nodeports": "0"});
    quota(&w, hard, json!({"services": "0", "services.nodeports": "0"})).await;
    const SERVICES: &str = "/api/v1/namespaces/ns/services";
    w.post(SERVICES, json!({"metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}]}})).await.created();
    let why =
        w.patch(&format!("{SERVICES}/a"), "merge", json!({"spec": {"type": "NodePort"}})).await.refused(403);
    assert_eq!(
        why,
        "services \"a\" is forbidden: exceeded quota: q, requested: services.nodeports=1, used: services.nodeports=0, \
         limited: services.nodeports=0"
    );
}

#[tokio::test(start_paused = true)]
async fn namespaces_ask_for_security_by_labels() {
    let w = World::new().await;
    w.post(PODS, json!({"metadata": {"name": "old"}, "spec": {"hostPID": true, "containers": [{"name": "c", "image": "i"}]}}))
        .await
        .created();
    let label = |mode: &str, level: &str| json!({"metadata": {"labels": {format!("pod-security.kubernetes.io/{mode}"): level}}});
    const NAMESPACE: &str = "/api/v1/namespaces/ns";
    let set = w.patch(NAMESPACE, "merge", label("enforce", "baseline")).await;
    assert_eq!(
        set.warnings,
        [
            "299 - \"existing pods in namespace \\\"ns\\\" violate the new PodSecurity enforce level \\\"baseline:latest\\\"\"",
            "299 - \"old: host namespaces\""
        ]
    );
    w.patch(NAMESPACE, "merge", label("warn", "restricted")).await.ok();
    let mut bad = pod("a");
    bad["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
    assert_eq!(
        w.post(PODS, bad.clone()).await.refused(403),
        "pods \"a\" is forbidden: violates PodSecurity \"baseline:latest\": privileged (container \"c\" must not set \
         securityContext.privileged=true)"
    );
    let made = w.post(PODS, pod("a")).await;
    assert!(
        made.warnings[0]
            .contains("would violate PodSecurity \\\"restricted:latest\\\": allowPrivilegeEscalation")
    );
    made.created();
    let set = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "r"},
        "spec": {"selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": bad["spec"]}}
    });
    let made = w.post("/apis/apps/v1/namespaces/ns/replicasets", set).await;
    assert!(made.warnings.iter().any(|t| t.contains("would violate PodSecurity")), "{:?}", made.warnings);
    made.created();
    let why = w.patch(NAMESPACE, "merge", label("enforce", "strict")).await.refused(422);
    assert_eq!(
        why,
        "Namespace \"ns\" is invalid: metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"strict\": must be \
         one of privileged, baseline, restricted"
    );
}

#[tokio::test(start_paused = true)]
async fn a_claim_grows_only_when_it_is_bound_and_its_class_can() {
    let w = World::new().await;
    let class = |name: &str, grows: bool| json!({"metadata": {"name": name}, "provisioner": "example.com/p", "allowVolumeExpansion": grows});
    for (name, grows) in [("fixed", false), ("elastic", true)] {
        w.post("/apis/storage.k8s.io/v1/storageclasses", class(name, grows)).await.created();
        let claim = json!({"metadata": {"name": name}, "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": name, "resources": {"requests": {"storage": "1Gi"}}
        }});
        w.post(CLAIMS, claim).await.created();
    }
    let grow = async |name: &str| {
        w.patch(
            &format!("{CLAIMS}/{name}"),
            "merge",
            json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}}),
        )
        .await
    };
    let bind = json!({"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}});
    for name in ["fixed", "elastic"] {
        w.patch(&format!("{CLAIMS}/{name}"), "merge", json!({"spec": {"volumeName": "v"}})).await.ok();
        w.patch(&format!("{CLAIMS}/{name}/status"), "merge", bind.clone()).await.ok();
    }
    assert_eq!(
        grow("fixed").await.refused(403),
        "persistentvolumeclaims \"fixed\" is forbidden: only dynamically provisioned pvc can be resized and the storageclass \
         that provisions the pvc must support resize"
    );
    grow("elastic").await.ok();
}

#[tokio::test(start_paused = true)]
async fn there_is_one_default_priority() {
    let w = World::new().await;
    const CLASSES: &str = "/apis/scheduling.k8s.io/v1/priorityclasses";
    let class = |name: &str| json!({"metadata": {"name": name}, "value": 5, "globalDefault": true});
    w.post(CLASSES, class("a")).await.created();
    assert_eq!(
        w.post(CLASSES, class("b")).await.refused(403),
        "priorityclasses.scheduling.k8s.io \"b\" is forbidden: PriorityClass a is already marked as default. Only one default \
         can exist"
    );
    w.patch(&format!("{CLASSES}/a"), "merge", json!({"description": "still"})).await.ok();
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_refuses_writes_clearly_and_takes_deletions_and_reads() {
    let disk = store::SimDisk::new(1);
    let engine = store::RedbEngine::open(disk.clone()).unwrap();
    let w = World::over(Box::new(engine), store::Limits::default().inline()).await;
    w.post(MAPS, config_map("a", "1")).await.created();
    disk.set_capacity(0);
    let refused = w.post(MAPS, config_map("b", "1")).await;
    assert_eq!((refused.code, refused.body["reason"].clone()), (507, json!("InternalError")));
    assert_eq!(
        refused.body["message"],
        "Internal error occurred: the disk of the store is full or refuses writes: nothing else is written until it takes them again, deletions are tried"
    );
    w.patch(&format!("{MAPS}/a"), "merge", json!({"data": {"k": "2"}})).await.refused(507);
    assert!(w.get("/metrics").await.text.contains("knarr_store_read_only 1\n"));
    w.get(&format!("{MAPS}/a")).await.ok();
    disk.set_capacity(usize::MAX);
    w.post(MAPS, config_map("b", "1")).await.created();
    assert!(w.get("/metrics").await.text.contains("knarr_store_read_only 0\n"));
    // Somebody else takes everything: deletions live on what was kept for them.
    disk.take_by_surprise(0);
    w.delete(&format!("{MAPS}/a"), json!(null)).await.ok();
}

#[tokio::test(start_paused = true)]
async fn bodies_that_would_grow_without_bound_are_refused() {
    let w = World::new().await;
    let yaml = |body: String| {
        let w = w.clone();
        async move { w.call("POST", MAPS, &[("content-type", "application/yaml")], body.into()).await }
    };
    // A billion strings from a kilobyte.
    let mut laughs = "a: &a [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for (name, of) in "bcdefghi".chars().zip("abcdefgh".chars()) {
        laughs.push_str(&format!(
            "{name}: &{name} [*{of},*{of},*{of},*{of},*{of},*{of},*{of},*{of},*{of},*{of}]\n"
        ));
    }
    yaml(laughs).await.refused(400);
    yaml(format!("a: {}", "[".repeat(100_000))).await.refused(400);
    let deep = |depth: usize| format!("{}{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    let post = |body: String| {
        let w = w.clone();
        async move { w.call("POST", MAPS, &[("content-type", "application/json")], body.into()).await }
    };
    post(deep(100_000)).await.refused(400);
    // As a patch of each kind, too.
    w.post(MAPS, config_map("a", "1")).await.created();
    for media in ["merge-patch+json", "strategic-merge-patch+json", "apply-patch+yaml", "json-patch+json"] {
        let media = format!("application/{media}");
        let path = format!("{MAPS}/a?fieldManager=m");
        let answer = w.call("PATCH", &path, &[("content-type", &media)], deep(100_000).into()).await;
        assert!((400..500).contains(&answer.code), "{media}: {}", answer.text);
    }
    // Twice as much with each copy.
    let mut double = vec![json!({"op": "add", "path": "/data/x", "value": "x".repeat(1000)})];
    for n in 0..40 {
        double.push(json!({"op": "copy", "from": "/data", "path": format!("/data/y{n}")}));
    }
    let answer = w.patch(&format!("{MAPS}/a"), "json", double.into()).await;
    assert!((400..500).contains(&answer.code), "{}", answer.text);
    assert_eq!(w.get(&format!("{MAPS}/a")).await.ok()["data"]["k"], "1");
}
