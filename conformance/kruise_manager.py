"""OpenKruise's own manager, unmodified, over `knarr up`: it syncs its caches, serves its webhooks, and rolls its own samples.

  kruise_manager.py [CASE…]

Runs by name only: it builds the manager from its Go module when KRUISE_MANAGER names none (some minutes of two cores), and starts a
cluster of its own. Needs CONFORMANCE_DATA, KUBECTL, go; KNARR names the binary (else target/release/knarr). What it does is told in
docs/guide/openkruise.md.
"""

import atexit
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

import cloneset
from _kit import DATA, Failed, Watch, contains, equal, eventually, get, kubectl, main, refused, run

VERSION = "v1.8.3"
MODULE = "github.com/openkruise/kruise"
SYSTEM = "kruise-system"
NS = "conformance-kruise"
N = ("-n", NS)
KNARR = os.environ.get("KNARR", "target/release/knarr")
# What a cluster in one process has no containers for: the manager runs beside it, and its node daemon needs a container runtime.
LEFT_OUT = ("Deployment", "DaemonSet")
GATES = "AllAlpha=true,AllBeta=true,EnableExternalCerts=false"
home = None


class Home:
    """What runs: the cluster and the manager, both ended with this process."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="kruise-")
        self.started = []
        atexit.register(self.stop)

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def start(self, name, words, **env):
        log = open(self.path(name + ".log"), "wb")
        process = subprocess.Popen(words, stdout=log, stderr=log, env=dict(os.environ, **env))
        self.started.append(process)
        return process

    def log(self, name):
        with open(self.path(name + ".log"), encoding="utf-8", errors="replace") as f:
            return f.read()

    def stop(self):
        for process in reversed(self.started):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def module():
    """The folder of the module's sources."""
    done = subprocess.run(["go", "mod", "download", "-json", f"{MODULE}@{VERSION}"], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["Dir"]


def manager_binary(sources):
    """The manager: as given, or built from the module as its Dockerfile does."""
    if os.environ.get("KRUISE_MANAGER"):
        return os.environ["KRUISE_MANAGER"]
    out, began = home.path("manager"), time.monotonic()
    subprocess.run(["go", "build", "-trimpath", "-o", out, "."], cwd=sources, env=dict(os.environ, CGO_ENABLED="0"), check=True)
    print(f"built {MODULE}@{VERSION} in {time.monotonic() - began:.0f} s", flush=True)
    return out


# From nothing to a manager that is ready.


def the_cluster_starts_without_its_own_workloads():
    process = home.start("knarr", [
        KNARR, "up", "--listen", "127.0.0.1:0", "--data-dir", home.path("data"),
        "--without", "workloads,proxy,console", "--nodes", "6", "--process-nodes", "0",
    ])
    os.environ["KUBECONFIG"] = home.path("data", "kubeconfig")
    os.environ["KUBECACHEDIR"] = home.path("cache")

    def is_ready():
        if process.poll() is not None:
            raise Failed(home.log("knarr"))
        return run("get", "--raw", "/readyz").code == 0

    eventually(is_ready, seconds=30)
    kubectl("wait", "--for=condition=Ready", "nodes", "--all", "--timeout=30s")
    if "apps.kruise.io" in kubectl("api-versions"):
        raise Failed("the cluster serves apps.kruise.io itself")
    kubectl("create", "namespace", NS)


def its_manifests_are_applied_twice():
    text = kubectl("kustomize", os.path.join(home.sources, "config", "default"))
    kept = [one for one in text.split("\n---\n") if not any(f"\nkind: {kind}\n" in "\n" + one for kind in LEFT_OUT)]
    manifest = "\n---\n".join(kept)
    kubectl("apply", "--server-side", "-f", "-", stdin=manifest)
    equal(run("diff", "--server-side", "-f", "-", stdin=manifest).code, 0, "exit code of diff")
    kubectl("apply", "--server-side", "-f", "-", stdin=manifest)
    names = kubectl("get", "crd", "-o", "name").split()
    equal(len([n for n in names if n.endswith("kruise.io")]), 18, "definitions")
    kubectl("wait", "--for=condition=Established", "--timeout=10s", *names)


def its_manager_becomes_ready_with_the_rights_of_its_own_account():
    with open(os.environ["KUBECONFIG"], encoding="utf-8") as f:
        config = json.load(f)
    token = kubectl("create", "token", "kruise-manager", "-n", SYSTEM, "--duration=24h").strip()
    config["users"][0]["user"] = {"token": token}
    with open(home.path("manager.kubeconfig"), "w", encoding="utf-8") as f:
        json.dump(config, f)
    health = free_port()
    os.makedirs(home.path("certs"))
    process = home.start(
        "manager",
        [
            home.manager, "--kubeconfig", home.path("manager.kubeconfig"), "--enable-leader-election", "--logtostderr=true", "--v=5",
            f"--feature-gates={GATES}", "--metrics-addr", "0", "--enable-pprof=false", f"--health-probe-addr=127.0.0.1:{health}",
        ],
        POD_NAMESPACE=SYSTEM, WEBHOOK_HOST="127.0.0.1", WEBHOOK_PORT=str(free_port()), WEBHOOK_CERT_DIR=home.path("certs"),
        # Its own store of certificates, as in a cluster; beside one it would take files.
        WEBHOOK_CERT_WRITER="secret", KUBE_CACHE_MUTATION_DETECTOR="true",
    )

    def is_ready():
        if process.poll() is not None:
            raise Failed(home.log("manager")[-3000:])
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{health}/readyz", timeout=2) as answer:
                return answer.status == 200
        except OSError as e:
            raise Failed(f"/readyz: {e}") from e

    eventually(is_ready, seconds=60)


def it_leads_and_all_its_caches_are_synced():
    lease = eventually(lambda: get("lease", "kruise-manager", "-n", SYSTEM)["spec"].get("holderIdentity"), seconds=30)
    contains(lease, "_")
    eventually(lambda: home.log("manager").count("Starting workers") >= 20, seconds=60)
    for word in ("forbidden", "Failed to watch", "failed to list", "Could not wait for Cache to sync", "timed out waiting for cache"):
        if word in home.log("manager"):
            raise Failed(next(line for line in home.log("manager").splitlines() if word in line))


def its_certificates_and_webhooks_are_its_own():
    secret = get("secret", "kruise-webhook-certs", "-n", SYSTEM)
    contains(json.dumps(sorted(secret["data"])), "ca-cert.pem", "cert.pem", "key.pem")
    for kind in ("mutatingwebhookconfiguration", "validatingwebhookconfiguration"):
        found = get(kind, f"kruise-{kind.removesuffix('webhookconfiguration')}-webhook-configuration")
        equal({h["clientConfig"]["caBundle"] for h in found["webhooks"]}, {secret["data"]["ca-cert.pem"]}, "caBundle")
        equal({h["clientConfig"]["url"].split("/")[2].split(":")[0] for h in found["webhooks"]}, {"127.0.0.1"}, "hosts")
    convert = get("crd", "statefulsets.apps.kruise.io")["spec"]["conversion"]
    equal((convert["strategy"], convert["webhook"]["clientConfig"]["caBundle"]), ("Webhook", secret["data"]["ca-cert.pem"]))


# Its kinds.


def pods(label):
    return {p["metadata"]["name"]: p for p in get("pods", *N, "-l", label)["items"] if "deletionTimestamp" not in p["metadata"]}


def image(kind, name, to, at="/spec/template/spec/containers/0/image"):
    kubectl("patch", kind, name, *N, "--type=json", "-p", json.dumps([{"op": "replace", "path": at, "value": to}]))


def settled(kind, name, seconds=90, **wanted):
    def check():
        found = get(kind, name, *N)
        status = found.get("status", {})
        if status.get("observedGeneration", found["metadata"]["generation"]) != found["metadata"]["generation"]:
            raise Failed("not seen yet")
        equal({k: status.get(k) for k in wanted}, wanted, f"status of {kind} {name}")
        return status

    return eventually(check, seconds=seconds)


def sample(name):
    return os.path.join(DATA, "openkruise", "samples", name)


def its_cloneset_sample_rolls_in_place():
    kubectl("apply", *N, "-f", sample("apps_v1alpha1_cloneset.yaml"))
    settled("clonesets.apps.kruise.io", "sample", replicas=5, readyReplicas=5, updatedReadyReplicas=5)
    before = pods("app=sample")
    watch = Watch(*N, "-l", "app=sample")
    watch.seen(5)
    image("clonesets.apps.kruise.io", "sample", "nginx:mainline")
    settled("clonesets.apps.kruise.io", "sample", replicas=5, readyReplicas=5, updatedReadyReplicas=5)
    cloneset.untouched(before, pods("app=sample"), "main")
    events = watch.stop()
    cloneset.judge_in_place(events, "main", "nginx:alpine", "nginx:mainline")
    most = cloneset.most_unready(events, 5)
    if most > 2:
        raise Failed(f"{most} of 5 pods were unready although maxUnavailable is 2")


def its_webhook_refuses_what_its_schema_lets_pass():
    text = kubectl("get", "clonesets.apps.kruise.io", "sample", *N, "-o", "json")
    wrong = json.loads(text)
    wrong["metadata"] = {"name": "wrong", "namespace": NS}
    wrong["spec"]["selector"] = {"matchLabels": {"app": "other"}}
    refused("create", "-f", "-", stdin=json.dumps(wrong), says=["denied the request", "spec.template.metadata.labels"])


def its_statefulset_rolls_in_place_in_both_versions():
    kind = "statefulsets.apps.kruise.io"
    text = {
        "apiVersion": "apps.kruise.io/v1beta1", "kind": "StatefulSet", "metadata": {"name": "asts", "namespace": NS},
        "spec": {
            "replicas": 3, "serviceName": "asts", "selector": {"matchLabels": {"app": "asts"}}, "podManagementPolicy": "Parallel",
            "updateStrategy": {"rollingUpdate": {"podUpdatePolicy": "InPlaceIfPossible", "maxUnavailable": 2}},
            "template": {
                "metadata": {"labels": {"app": "asts"}},
                "spec": {"readinessGates": [{"conditionType": "InPlaceUpdateReady"}], "containers": [{"name": "main", "image": "a:1"}]},
            },
        },
    }
    kubectl("apply", "-f", "-", stdin=json.dumps(text))
    settled(kind, "asts", readyReplicas=3)
    # Its manager converts between the versions.
    old = get("statefulsets.v1alpha1.apps.kruise.io", "asts", *N)
    equal(old["apiVersion"], "apps.kruise.io/v1alpha1")
    before = pods("app=asts")
    equal(sorted(before), ["asts-0", "asts-1", "asts-2"], "names")
    image(kind, "asts", "a:2")
    settled(kind, "asts", readyReplicas=3, updatedReadyReplicas=3)
    cloneset.untouched(before, pods("app=asts"), "main")


def its_daemonset_has_a_pod_on_every_node_and_updates_in_place():
    text = {
        "apiVersion": "apps.kruise.io/v1alpha1", "kind": "DaemonSet", "metadata": {"name": "ads", "namespace": NS},
        "spec": {
            "selector": {"matchLabels": {"app": "ads"}},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"rollingUpdateType": "InPlaceIfPossible", "maxUnavailable": 3}},
            "template": {"metadata": {"labels": {"app": "ads"}}, "spec": {"containers": [{"name": "main", "image": "d:1"}]}},
        },
    }
    kubectl("apply", "-f", "-", stdin=json.dumps(text))
    settled("daemonsets.apps.kruise.io", "ads", desiredNumberScheduled=6, numberReady=6)
    before = pods("app=ads")
    equal(len({p["spec"]["nodeName"] for p in before.values()}), 6, "nodes")
    image("daemonsets.apps.kruise.io", "ads", "d:2")
    settled("daemonsets.apps.kruise.io", "ads", updatedNumberScheduled=6, numberReady=6)
    cloneset.untouched(before, pods("app=ads"), "main")


def its_sidecarset_is_injected_and_upgraded_in_place():
    text = {
        "apiVersion": "apps.kruise.io/v1alpha1", "kind": "SidecarSet", "metadata": {"name": "side"},
        "spec": {
            "selector": {"matchLabels": {"app": "carried"}}, "namespace": NS,
            "updateStrategy": {"type": "RollingUpdate", "maxUnavailable": "50%"},
            "containers": [{"name": "side", "image": "side:1"}],
        },
    }
    kubectl("apply", "-f", "-", stdin=json.dumps(text))
    deployment = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "carried", "namespace": NS},
        "spec": {
            "replicas": 2, "selector": {"matchLabels": {"app": "carried"}},
            "template": {"metadata": {"labels": {"app": "carried"}}, "spec": {"containers": [{"name": "main", "image": "m:1"}]}},
        },
    }
    # Its webhook injects what the manager has in its cache.
    eventually(lambda: get("sidecarsets.apps.kruise.io", "side").get("status") is not None)
    kubectl("apply", "-f", "-", stdin=json.dumps(deployment))
    kubectl("rollout", "status", "deployment/carried", *N, "--timeout=60s")
    before = pods("app=carried")
    for name, pod in before.items():
        equal(sorted(c["name"] for c in pod["spec"]["containers"]), ["main", "side"], f"containers of {name}")
    kubectl("patch", "sidecarsets.apps.kruise.io", "side", "--type=json", "-p",
            json.dumps([{"op": "replace", "path": "/spec/containers/0/image", "value": "side:2"}]))

    def upgraded():
        status = get("sidecarsets.apps.kruise.io", "side")["status"]
        equal([status.get(k) for k in ("matchedPods", "updatedPods", "updatedReadyPods")], [2, 2, 2], "pods")
        return True

    eventually(upgraded)
    cloneset.untouched(before, pods("app=carried"), "side")


def its_broadcastjob_runs_on_every_node():
    text = {
        "apiVersion": "apps.kruise.io/v1alpha1", "kind": "BroadcastJob", "metadata": {"name": "once", "namespace": NS},
        "spec": {
            "completionPolicy": {"type": "Always"},
            "template": {
                "metadata": {"labels": {"app": "once"}, "annotations": {"knarr.dev/sim-run-seconds": "1"}},
                "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "job:1"}]},
            },
        },
    }
    kubectl("apply", "-f", "-", stdin=json.dumps(text))
    eventually(lambda: equal(get("broadcastjobs.apps.kruise.io", "once", *N).get("status", {}).get("desired"), 6, "desired") or True)
    eventually(lambda: len({p["spec"].get("nodeName") for p in pods("app=once").values()}) == 6)


def its_uniteddeployment_divides_over_subsets():
    subsets = [
        {"name": f"subset-{i}", "nodeSelectorTerm": {"matchExpressions": [{"key": "knarr.dev/runtime", "operator": "In", "values": ["sim"]}]}}
        for i in range(2)
    ]
    inner = {
        "metadata": {"labels": {"app": "united"}},
        "spec": {
            "selector": {"matchLabels": {"app": "united"}},
            "template": {"metadata": {"labels": {"app": "united"}}, "spec": {"containers": [{"name": "main", "image": "u:1"}]}},
        },
    }
    text = {
        "apiVersion": "apps.kruise.io/v1alpha1", "kind": "UnitedDeployment", "metadata": {"name": "united", "namespace": NS},
        "spec": {
            "replicas": 4, "selector": {"matchLabels": {"app": "united"}}, "template": {"cloneSetTemplate": inner},
            "topology": {"subsets": subsets},
        },
    }
    kubectl("apply", "-f", "-", stdin=json.dumps(text))
    settled("uniteddeployments.apps.kruise.io", "united", replicas=4, readyReplicas=4)
    sets = [c for c in get("clonesets.apps.kruise.io", *N)["items"] if c["metadata"]["name"].startswith("united-")]
    equal(sorted(c["spec"]["replicas"] for c in sets), [2, 2], "replicas of the subsets")


def its_imagepulljob_waits_for_a_daemon_that_is_not_there():
    text = {
        "apiVersion": "apps.kruise.io/v1alpha1", "kind": "ImagePullJob", "metadata": {"name": "pull", "namespace": NS},
        "spec": {"image": "web:9", "parallelism": 10, "completionPolicy": {"type": "Always", "activeDeadlineSeconds": 1200}},
    }
    # A NodeImage for each node is the manager's part, half a minute after the node; to pull is its daemon's.
    eventually(lambda: len(get("nodeimages.apps.kruise.io")["items"]) == 6, seconds=90)
    kubectl("apply", "-f", "-", stdin=json.dumps(text))
    eventually(lambda: equal(get("imagepulljobs.apps.kruise.io", "pull", *N).get("status", {}).get("desired"), 6, "desired") or True)


def every_sample_it_ships_is_taken_unless_it_has_a_scaffold_field():
    folder = os.path.join(home.sources, "config", "samples")
    taken = []
    for file in sorted(os.listdir(folder)):
        done = run("apply", *N, "-f", os.path.join(folder, file))
        if done.code == 0:
            taken.append(file)
        elif 'unknown field "spec.foo"' not in done.err:
            raise Failed(str(done))
    equal(len(taken), 8, f"samples taken, {taken}")
    settled("statefulsets.apps.kruise.io", "sample", readyReplicas=10)


def its_manager_never_met_an_answer_it_did_not_understand():
    log = home.log("manager")
    for word in ("panic", "cannot unmarshal", "is not registered", "unknown field", "forbidden", "no kind "):
        lines = [line for line in log.splitlines() if word in line]
        if lines:
            raise Failed(f"{len(lines)} lines with {word!r}, first: {lines[0][:400]}")


CASES = [
    the_cluster_starts_without_its_own_workloads,
    its_manifests_are_applied_twice,
    its_manager_becomes_ready_with_the_rights_of_its_own_account,
    it_leads_and_all_its_caches_are_synced,
    its_certificates_and_webhooks_are_its_own,
    its_cloneset_sample_rolls_in_place,
    its_webhook_refuses_what_its_schema_lets_pass,
    its_statefulset_rolls_in_place_in_both_versions,
    its_daemonset_has_a_pod_on_every_node_and_updates_in_place,
    its_sidecarset_is_injected_and_upgraded_in_place,
    its_broadcastjob_runs_on_every_node,
    its_uniteddeployment_divides_over_subsets,
    its_imagepulljob_waits_for_a_daemon_that_is_not_there,
    every_sample_it_ships_is_taken_unless_it_has_a_scaffold_field,
    its_manager_never_met_an_answer_it_did_not_understand,
]

if __name__ == "__main__":
    home = Home()
    home.sources = module()
    home.manager = manager_binary(home.sources)
    main(CASES)
