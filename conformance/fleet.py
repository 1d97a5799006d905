"""Knarr beside a foreign kube-apiserver: `knarr install`, then `knarr run` with the rights that it grants and no others.

  fleet.py [--kubeconfig FILE] [--knarr FILE] [WORDS OF A CASE…]

KUBECONFIG, KNARR and KUBECTL say the same. It puts definitions, rights and policies into the cluster and leaves them there. Where
a kubelet, a scheduler and Kubernetes' own controllers are missing, `knarr run --role controllers,scheduler,nodes` stands for
them; pods go to its simulated nodes. The cases build upon each other: the words of one run it after those that prepare.
"""

import atexit
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

from _kit import Failed, Run, Watch, contains, equal, eventually, get, kubectl, main, refused, run
from cloneset import GATE, condition, containers, is_ready, replay

NS = "cafe-published"
N = ("-n", NS)
SIDE = "conformance-fleet"
SYSTEM = "knarr-system"
ACCOUNT = "knarr-workloads"
CAFE = "cafedeployments.apps.cafe.cloud.alipay.com"
POD_SETS = "inplacesets.apps.cafe.cloud.alipay.com"
PUBLISHED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "examples", "cafe", "published", "published.yaml")
GROUPS = [{"CellA": 1, "CellB": 1}, {"CellA": 2, "CellB": 2}, {"CellA": 2, "CellB": 2}]
CONFIRMED = "cafe.sofastack.io/upgrade-confirmed"
UNIT = "cafe.sofastack.io/deploy-unit"
REVISION = "cafe.sofastack.io/revision"
FINALIZER = "prot.podopslifecycle.kusionstack.io/web"
PROTECTION = "policy.kruise.io/delete-protection"
DRAIN_SECONDS = 2

WORK = tempfile.mkdtemp(prefix="knarr-fleet-")
PROCESSES = {}


# The program and its processes.


def knarr(*args, stdin=None, code=0):
    """Runs the program as the cluster's administrator; fails unless it exits with this code. Gives both outputs."""
    full = [KNARR, *args, "--kubeconfig", os.environ["KUBECONFIG"]]
    done = subprocess.run(full, input=stdin, capture_output=True, text=True, timeout=60)
    if done.returncode != code:
        raise Failed(f"expected exit {code}\n{Run(['knarr', *args], done)}")
    return done.stdout + done.stderr


def install(*parts):
    return subprocess.run([KNARR, "install", *parts], capture_output=True, text=True, check=True, timeout=30).stdout


def start(name, *words):
    log = open(os.path.join(WORK, name + ".log"), "ab")
    words = [KNARR, "run", *words, "--data-dir", os.path.join(WORK, name)]
    PROCESSES[name] = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def kill(name):
    process = PROCESSES.pop(name)
    process.kill()
    process.wait()


def log_of(name):
    with open(os.path.join(WORK, name + ".log"), encoding="utf-8") as f:
        return f.read()


def end():
    for name in list(PROCESSES):
        kill(name)
    shutil.rmtree(WORK, ignore_errors=True)


def kubeconfig_of(account):
    """A kubeconfig with the token of a service account, and no other rights."""
    config = json.loads(kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json"))
    config["users"][0]["user"] = {"token": kubectl("create", "token", account, "-n", SYSTEM, "--duration=1h").strip()}
    path = os.path.join(WORK, account + ".kubeconfig")
    with open(path, "w", encoding="utf-8") as f:
        json.dump(config, f)
    return path


def start_workloads():
    config = os.path.join(WORK, ACCOUNT + ".kubeconfig")
    start("workloads", "--role", "workloads", "--kubeconfig", config, "--leader-lease", f"{SYSTEM}/{ACCOUNT}")


def leads(before=None):
    """Waits until a process that was not the leader before is it; gives its identity."""

    def check():
        lease = run("get", "lease", ACCOUNT, "-n", SYSTEM, "-o", "json")
        holder = json.loads(lease.out)["spec"].get("holderIdentity") if lease.code == 0 else None
        return holder if holder != before else None

    return eventually(check, seconds=60)


# What the cluster says.


def cafe(name="web", where=N):
    return get(CAFE, name, *where)


def pods(where=N, label="app=web"):
    items = get("pods", *where, "-l", label)["items"]
    return {p["metadata"]["name"]: p for p in items if "deletionTimestamp" not in p["metadata"]}


def cell(pod):
    return pod["metadata"]["labels"].get(UNIT)


def by_cell(of):
    found = {"CellA": 0, "CellB": 0}
    for pod in of:
        found[cell(pod)] += 1
    return found


def apply_image(image, name="web", where=N):
    patch = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": image}]
    kubectl("patch", CAFE, name, *where, "--type=json", "-p", json.dumps(patch))


def identities(found):
    return {name: (p["metadata"]["uid"], p["status"]["podIP"], p["spec"]["nodeName"]) for name, p in found.items()}


def images(found):
    return {p["spec"]["containers"][0]["image"] for p in found.values()}


def confirm():
    kubectl("annotate", "--overwrite", CAFE, "web", *N, f"{CONFIRMED}=true")


class Release:
    """A release of the published example, followed group by group; what it makes of the pods is judged by `judge`."""

    def __init__(self, begin, on_poll=None):
        self.on_poll = on_poll
        self.before = pods()
        self.watch = Watch(*N, "-l", "app=web")
        if self.before:
            self.watch.seen(len(self.before))
        self.limits = [(0, 0)]
        self.generation = cafe()["metadata"]["generation"] if self.before else 0
        begin()
        self.groups = self.follow()
        self.events = self.watch.stop()
        self.after = pods()

    def follow(self):
        """Confirms each group once it waits; gives the pods of each cell that every group brought to the new revision."""
        groups, done, deadline = [], {"CellA": 0, "CellB": 0}, time.monotonic() + 180
        while time.monotonic() < deadline:
            found = cafe()
            s = found.get("status", {})
            now = pods()
            if self.on_poll:
                self.on_poll(s, now)
            new = by_cell(p for p in now.values() if p["metadata"]["labels"].get(REVISION) == s.get("updateRevision"))
            if s.get("observedGeneration") != found["metadata"]["generation"] or s.get("phase") is None:
                time.sleep(0.1)
                continue
            self.never_more_than_the_group(s, new, len(groups))
            waits = s["phase"] == "WaitingForConfirmation" and found["metadata"]["annotations"].get(CONFIRMED) == "false"
            is_last = s["phase"] == "Stable" and sum(new.values()) == 10
            if (waits and new != done) or is_last:
                groups.append({c: new[c] - done[c] for c in new})
                done = new
                if is_last:
                    table = [{c["name"]: c["pods"] for c in g["cells"]} for g in s["groups"]]
                    equal(table, GROUPS, "groups in status")
                    return groups
                self.limits.append((len(self.watch.events), len(groups)))
                confirm()
            time.sleep(0.1)
        raise Failed(f"the release has not ended: {json.dumps(cafe().get('status', {}))}")

    def never_more_than_the_group(self, s, new, finished):
        """At every poll: no pod beyond the groups that were confirmed, and the minimum that status promises."""
        allowed = {c: sum(g[c] for g in GROUPS[: finished + 1]) for c in new}
        for name, count in new.items():
            if count > allowed[name]:
                raise Failed(f"{count} pods of {name} are new, groups up to {finished} have {allowed[name]}")
        if self.before:
            for c in s["cells"]:
                if c["available"] < c["minAvailable"]:
                    raise Failed(f"status: {c['available']} pods of {c['name']} available, minimum {c['minAvailable']}")

    def judge(self):
        """After every event of a pod: each cell's minimum, and no more pods out of service than the running group has."""
        least = {c["name"]: c["minAvailable"] for c in cafe()["status"]["cells"]}
        equal(least, {"CellA": 3, "CellB": 3}, "minimum of each cell")
        index, most = {"n": 0}, {"n": 0}

        def each(world, _):
            index["n"] += 1
            if len(world) < len(self.before):
                return
            # The newest confirmation that was sent before this event may have been heard.
            group = max(g for at, g in self.limits if at < index["n"])
            ready = by_cell(p for p in world.values() if is_ready(p))
            out = len(world) - sum(ready.values())
            most["n"] = max(most["n"], out)
            for name, count in ready.items():
                if count < least[name]:
                    raise Failed(f"{count} pods of {name} in service, minimum {least[name]}")
            size = sum(GROUPS[group].values())
            if out > size:
                raise Failed(f"{out} pods out of service, group {group} has {size}")

        replay(self.events, each)
        if most["n"] == 0:
            raise Failed("the watch never showed a pod out of service")
        equal(identities(self.after), identities(self.before), "uid, address and node of the pods")


# Installation and rights.


def install_is_accepted_whole_and_without_a_warning():
    manifests = install()
    count = len(re.findall(r"(?m)^kind:", manifests))
    for more in ((), ("--dry-run=server",)):
        done = run("apply", "--server-side", "--validate=strict", *more, "-f", "-", stdin=manifests)
        if done.code != 0 or done.err:
            raise Failed(str(done))
        equal(len(re.findall(r"serverside-applied", done.out)), count, f"objects applied {more}")
    kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", "--all")


def every_part_can_be_installed_alone():
    parts = [install(p) for p in ("--crds", "--rbac", "--policies", "--deployments")]
    together = sorted("".join(parts).split("---\n"))
    equal(together, sorted(install().split("---\n")), "parts put together")


def the_rights_are_few():
    config = kubeconfig_of(ACCOUNT)
    who = json.loads(kubectl("--kubeconfig", config, "auth", "whoami", "-o", "json"))
    equal(who["status"]["userInfo"]["username"], f"system:serviceaccount:{SYSTEM}:{ACCOUNT}", "who the token is")
    for may, words in (
        ("yes", ("patch", "pods")),
        ("yes", ("patch", f"{CAFE}/status")),
        ("no", ("get", "secrets")),
        ("no", ("delete", "nodes")),
        ("no", ("delete", "namespaces")),
        ("no", ("update", "clusterroles.rbac.authorization.k8s.io")),
        ("no", ("create", "pods/exec")),
        ("no", ("*", "*")),
    ):
        words = [words[0], words[1].split("/")[0], *(["--subresource=" + words[1].split("/")[1]] if "/" in words[1] else [])]
        found = run("--kubeconfig", config, "auth", "can-i", *words, "-A").out.strip()
        equal(found, may, f"may it {' '.join(words)}")


def without_rights_the_log_says_so():
    """The control of the last case: what a missing right looks like."""
    kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "nobody", "namespace": SYSTEM}}))
    start("nobody", "--role", "workloads", "--kubeconfig", kubeconfig_of("nobody"))
    try:
        eventually(lambda: "forbidden" in log_of("nobody").lower(), seconds=20)
    finally:
        kill("nobody")
        kubectl("delete", "serviceaccount", "nobody", "-n", SYSTEM)


def controllers_run_with_what_install_grants():
    start("cluster", "--role", "controllers,scheduler,nodes", "--nodes", "8", "--cells", "CellA,CellB", "--kubeconfig", os.environ["KUBECONFIG"])
    held = run("get", "lease", ACCOUNT, "-n", SYSTEM, "-o", "jsonpath={.spec.holderIdentity}").out or None
    start_workloads()
    leads(held)

    def nodes_are_ready():
        found = get("nodes", "-l", "knarr.dev/runtime=sim")["items"]
        return len([n for n in found if condition(n, "Ready")["status"] == "True"]) >= 8

    eventually(nodes_are_ready)

    def converted():
        found = {d["metadata"]["name"]: d["spec"]["conversion"]["strategy"] for d in get("crd")["items"] if len(d["spec"]["versions"]) > 1}
        return found.get("clonesets.apps.kruise.io") == "Webhook"

    eventually(converted)


# The published example.


def published():
    """The example as it is published, but for the two fields that send its pods to process nodes."""
    with open(PUBLISHED, encoding="utf-8") as f:
        text = f.read()
    found, count = re.subn(r"(?ms)^      # Real processes.*?(?=^      terminationGracePeriodSeconds)", "", text)
    equal((count, "knarr.dev/runtime" in found), (1, False), "places of the example that name process nodes")
    return found


def begin_with_the_published_example():
    kubectl("apply", "--server-side", "-f", "-", stdin=published())
    kubectl("annotate", "service", "web", *N, f"knarr.dev/drain-seconds={DRAIN_SECONDS}")


def roll_out_goes_by_the_published_groups():
    run("delete", "namespace", NS, "--ignore-not-found", timeout=120)
    kubectl("create", "namespace", NS)
    done = Release(begin_with_the_published_example)
    equal(done.groups, GROUPS, "groups of the roll-out")
    equal(by_cell(done.after.values()), {"CellA": 5, "CellB": 5}, "pods")
    for pod in done.after.values():
        node = get("node", pod["spec"]["nodeName"])
        equal(node["metadata"]["labels"]["cafe.sofastack.io/cell"], cell(pod), "cell of the pod's node")
        equal(pod["metadata"]["finalizers"], [FINALIZER], "finalizers")
    contains(knarr("release", "status", f"{CAFE}/web", *N), "10 pods, 10 updated, 10 ready, 10 available")


def plan_tells_the_groups_and_changes_nothing():
    def versions():
        kinds = f"{CAFE},{POD_SETS},pods,services,endpointslices,controllerrevisions,poddisruptionbudgets"
        return {(o["kind"], o["metadata"]["name"]): o["metadata"]["resourceVersion"] for o in get(kinds, *N)["items"]}

    def quiet():
        seen = versions()
        time.sleep(2)
        return seen == versions()

    eventually(quiet)
    before = versions()
    manifest = published().replace("shop:v1", "shop:v2")
    told = knarr("plan", "--field-manager", "kubectl", "-f", "-", stdin=manifest)
    rows = re.findall(r"(?m)^ +(beta|group-\d) +(\d+) +(\d+) +\d+ *$", told)
    equal(rows, [("beta", "1", "1"), ("group-1", "2", "2"), ("group-2", "2", "2")], "groups of the plan")
    contains(told, "knarr.dev/shop:v1 -> knarr.dev/shop:v2", "10 of 10 pods are available", "Nothing was changed")
    equal(versions(), before, "versions of the objects")
    # The same question without the name of the fields' owner is a conflict, as for `kubectl apply --server-side`.
    contains(knarr("plan", "-f", "-", stdin=manifest, code=1), "--force-conflicts")
    equal(versions(), before, "versions of the objects")


RELEASED = {}


def a_release_goes_in_place_by_the_same_groups():
    told = []

    def poll(status, _):
        if status.get("phase") == "WaitingForConfirmation" and not told:
            told.append(knarr("why", "cafedeployment/web", *N))
            told.append(knarr("release", "status", f"{CAFE}/web", *N, code=2))

    slices = subprocess.Popen(
        [os.environ.get("KUBECTL", "kubectl"), "get", "endpointslices", *N, "-w", "-o", "json"],
        stdout=open(os.path.join(WORK, "slices.json"), "wb"), stderr=subprocess.DEVNULL,
    )
    try:
        done = Release(lambda: apply_image("knarr.dev/shop:v2"), poll)
    finally:
        slices.terminate()
        slices.wait()
    RELEASED["v2"] = done
    equal(done.groups, GROUPS, "groups of the release")
    done.judge()
    equal(images(done.after), {"knarr.dev/shop:v2"}, "images")
    contains(told[0], "confirm")
    contains(told[1], "WaitingForConfirmation", "knarr release confirm", "CellA", "CellB")


def traffic_was_waited_for_and_not_drained():
    """Gate, endpoint, the seconds of the Service, finalizer, image, gate, finalizer: the order for every pod of that release."""
    done = RELEASED["v2"]
    steps, at = {}, {}
    for (kind, pod), moment in zip(done.events, done.watch.times):
        name = pod["metadata"]["name"]
        mine, when = steps.setdefault(name, []), at.setdefault(name, {})
        has = FINALIZER in pod["metadata"].get("finalizers", [])
        gate = condition(pod, GATE)["status"]
        new = pod["spec"]["containers"][0]["image"] == "knarr.dev/shop:v2"
        for step, true in (
            ("protected", has and gate == "True"),
            ("gate closed", gate == "False"),
            ("endpoint left", "knarr.dev/endpoint-left" in pod["metadata"].get("annotations", {})),
            ("released", "gate closed" in mine and not has),
            ("new image", new),
            ("gate open", "new image" in mine and gate == "True"),
            ("protected again", "gate open" in mine and has),
        ):
            if true and step not in mine:
                mine.append(step)
                when[step] = moment
        if new and "released" not in mine:
            raise Failed(f"{name} got its new image before its finalizer was off")
    wanted = ["protected", "gate closed", "endpoint left", "released", "new image", "gate open", "protected again"]
    equal(len(steps), 10, "pods seen")
    for name, found in steps.items():
        equal(found, wanted, f"steps of {name}")
        waited = at[name]["released"] - at[name]["endpoint left"]
        # The moment is noted in whole seconds, so that up to one of them has passed already.
        if not DRAIN_SECONDS - 1 <= waited <= DRAIN_SECONDS + 2:
            raise Failed(f"{name} was waited for {waited:.1f} s, the Service says {DRAIN_SECONDS}")
    not_ready = endpoints_not_ready()
    equal(not_ready, set(steps), "pods whose endpoint was seen not ready")
    events = get("events", *N, "--field-selector", "reason=Waited")["items"]
    for name in steps:
        notes = [e["message"] for e in events if e["involvedObject"]["name"] == name]
        contains("\n".join(notes), f"waited {DRAIN_SECONDS} s", "waited, not drained")


def endpoints_not_ready():
    with open(os.path.join(WORK, "slices.json"), encoding="utf-8") as f:
        text, decoder, at, found = f.read(), json.JSONDecoder(), 0, set()
    while text[at:].strip():
        at += len(text[at:]) - len(text[at:].lstrip())
        try:
            piece, at = decoder.raw_decode(text, at)
        except ValueError:
            break
        for endpoint in piece.get("endpoints") or []:
            if endpoint["conditions"].get("ready") is False:
                found.add(endpoint["targetRef"]["name"])
    return found


def rollback_goes_back_by_the_same_groups():
    def begin():
        kubectl("annotate", "--overwrite", CAFE, "web", *N, "knarr.dev/rollback-to=previous")
        eventually(lambda: cafe()["spec"]["template"]["spec"]["containers"][0]["image"] == "knarr.dev/shop:v1", seconds=20)

    done = Release(begin)
    equal(done.groups, GROUPS, "groups of the rollback")
    done.judge()
    equal(images(done.after), {"knarr.dev/shop:v1"}, "images")


def killed_in_the_middle_of_a_group_it_goes_on_by_the_same_groups():
    killed = []

    def poll(status, now):
        running = [g for g in status.get("groups", []) if g["phase"] == "Running"]
        closed = [n for n, p in now.items() if condition(p, GATE)["status"] == "False"]
        if not killed and running and running[0]["index"] == 1 and closed:
            killed.append(sorted(closed))
            holder = get("lease", ACCOUNT, "-n", SYSTEM)["spec"]["holderIdentity"]
            kill("workloads")
            stuck = sorted(n for n, p in pods().items() if condition(p, GATE)["status"] == "False")
            if not stuck:
                raise Failed("no pod was in the middle of its update when the process was killed")
            start_workloads()
            leads(holder)

    done = Release(lambda: apply_image("knarr.dev/shop:v3"), poll)
    equal(len(killed), 1, "kills in the middle of group 1")
    equal(done.groups, GROUPS, "groups of the killed release")
    done.judge()
    equal(images(done.after), {"knarr.dev/shop:v3"}, "images")


def the_brake_holds_a_release_and_lets_it_go():
    before = pods()
    knarr("brake", "on", "--reason", "conformance")
    try:
        contains(knarr("brake", "status", code=2), "on", "conformance")
        time.sleep(1)
        apply_image("knarr.dev/shop:v4")
        eventually(lambda: "brake" in json.dumps(cafe()["status"]) or "brake" in knarr("why", "cafedeployment/web", *N).lower(), seconds=20)
        time.sleep(3)
        equal(images(pods()), {"knarr.dev/shop:v3"}, "images while the brake is on")
        equal([n for n, p in pods().items() if not is_ready(p)], [], "pods out of service while the brake is on")
    finally:
        knarr("brake", "off")
    contains(knarr("brake", "status"), "off")
    done = Release(lambda: None)
    equal(done.groups, GROUPS, "groups of the release that was held")
    equal(images(done.after), {"knarr.dev/shop:v4"}, "images")
    equal(identities(done.after), identities(before), "uid, address and node of the pods")


# Writes.


def an_in_place_update_costs_three_writes():
    """By kind of writer: the node writes what it saw of containers, everything else at a pod is the controller's."""
    where = ("-n", SIDE)
    body = {
        "apiVersion": "apps.cafe.cloud.alipay.com/v1alpha1", "kind": "CafeDeployment", "metadata": {"name": "quiet"},
        "spec": {
            "replicas": 4, "selector": {"matchLabels": {"app": "quiet"}}, "podSetType": "InPlaceSet",
            "strategy": {"upgradeType": "Batch", "batchSize": 4},
            "topology": {"unitType": "Cell", "values": ["CellA", "CellB"]},
            "template": {
                "metadata": {"labels": {"app": "quiet"}},
                "spec": {"nodeSelector": {"knarr.dev/runtime": "sim"}, "containers": [{"name": "main", "image": "quiet:1"}]},
            },
        },
    }
    kubectl("apply", *where, "-f", "-", stdin=json.dumps(body))

    def settled():
        found = cafe("quiet", where)
        s = found.get("status", {})
        seen = [s.get(k) for k in ("phase", "updatedAvailableReplicas", "observedGeneration")]
        return seen == ["Stable", 4, found["metadata"]["generation"]]

    eventually(settled)
    time.sleep(2)
    watch = Watch(*where, "-l", "app=quiet")
    watch.seen(4)
    apply_image("quiet:2", "quiet", where)
    eventually(lambda: settled() and images(pods(where, "app=quiet")) == {"quiet:2"})
    time.sleep(2)
    last, writes = {}, {}
    for _, pod in watch.stop():
        name = pod["metadata"]["name"]
        mine = writes.setdefault(name, [])
        if name in last and last[name]["metadata"]["resourceVersion"] != pod["metadata"]["resourceVersion"]:
            what = controllers_part(last[name], pod)
            if what:
                mine.append(what)
        last[name] = pod
    equal(len(writes), 4, "pods seen")
    for name, mine in writes.items():
        equal(mine, ["gate False", "image quiet:2", "gate True"], f"controller's writes to {name}")


def controllers_part(old, new):
    """What a write changed that is not the node's to change; nothing for the node's writes."""
    gates = [condition(p, GATE)["status"] for p in (old, new)]
    if gates[0] != gates[1]:
        return f"gate {gates[1]}"
    if old["spec"] != new["spec"]:
        return f"image {new['spec']['containers'][0]['image']}"
    meta = [{k: v for k, v in p["metadata"].items() if k not in ("resourceVersion", "managedFields", "generation")} for p in (old, new)]
    if meta[0] != meta[1]:
        return f"metadata {[k for k in meta[1] if meta[0].get(k) != meta[1][k]]}"
    return None if old["status"] != new["status"] else "nothing"


# Deletion protection.


def label(kind, name, value, *where):
    kubectl("label", "--overwrite", kind, name, *where, f"{PROTECTION}{'=' + value if value else '-'}")


def denied(kind, name, *where, says):
    """Refused by the policy in so many words, without and with a dry run; the object stays."""
    for more in (("--dry-run=server",), ()):
        refused("delete", kind, name, *where, "--wait=false", *more, says=["knarr-delete-protection", says])
    equal("deletionTimestamp" in get(kind, name, *where)["metadata"], False, f"{kind} {name} is going")


def labelled_workloads_are_not_deleted():
    where = ("-n", SIDE)
    kubectl("create", "deployment", "kept", *where, "--image=kept:1", "--replicas=1")
    for kind, name in (("deployment", "kept"), (CAFE, "quiet")):
        label(kind, name, "Always", *where)
        denied(kind, name, *where, says=f"{PROTECTION}=Always: remove the label first")
        label(kind, name, "Cascading", *where)
        denied(kind, name, *where, says="scale it to 0")
    kubectl("scale", "deployment", "kept", *where, "--replicas=0")
    kubectl("delete", "deployment", "kept", *where)
    kubectl("create", "service", "clusterip", "kept", *where, "--tcp=80")
    label("service", "kept", "Always", *where)
    denied("service", "kept", *where, says="Always")
    label("service", "kept", "", *where)
    kubectl("delete", "service", "kept", *where)
    label(CAFE, "quiet", "", *where)


def labelled_namespaces_are_not_deleted():
    kubectl("create", "namespace", SIDE + "-2")
    label("namespace", SIDE + "-2", "Always")
    denied("namespace", SIDE + "-2", says="Always")
    label("namespace", SIDE + "-2", "Cascading")
    kubectl("delete", "namespace", SIDE + "-2", "--wait=true", timeout=90)
    label("namespace", SIDE, "Cascading")
    eventually(lambda: get("namespace", SIDE)["metadata"]["labels"].get("knarr.dev/delete-protected") == "true", seconds=20)
    denied("namespace", SIDE, says="it is in use: active pods; remove that first")


def definitions_in_use_are_not_deleted():
    name = POD_SETS
    eventually(lambda: get("crd", name)["metadata"].get("labels", {}).get("knarr.dev/delete-protected") == "true", seconds=20)
    # As a dry run alone: were it not refused, the cluster would lose its objects.
    refused("delete", "crd", name, "--dry-run=server", says=["knarr-delete-protection", "objects of it want pods"])
    foreign = {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "things.fleet.test"},
        "spec": {
            "group": "fleet.test", "scope": "Namespaced", "names": {"plural": "things", "singular": "thing", "kind": "Thing"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}],
        },
    }
    kubectl("apply", "-f", "-", stdin=json.dumps(foreign))
    label("crd", "things.fleet.test", "Always")
    denied("crd", "things.fleet.test", says="Always")
    label("crd", "things.fleet.test", "")
    kubectl("delete", "crd", "things.fleet.test")


def unlabelled_everything_goes():
    where = ("-n", SIDE)
    kubectl("delete", CAFE, "quiet", *where)
    eventually(lambda: not get("pods", *where)["items"])
    eventually(lambda: "knarr.dev/delete-protected" not in get("namespace", SIDE)["metadata"]["labels"], seconds=20)
    label("namespace", SIDE, "")
    kubectl("delete", CAFE, "web", *N)
    eventually(lambda: not get("pods", *N)["items"], seconds=120)
    eventually(lambda: not get("controllerrevisions", *N)["items"], seconds=30)
    for namespace in (NS, SIDE):
        kubectl("delete", "namespace", namespace, "--wait=true", timeout=120)


def nothing_was_forbidden():
    told = log_of("workloads")
    contains(told, "running workloads")
    bad = [line for line in told.splitlines() if re.search(r"forbidden|\b403\b|ERROR|panicked", line, re.IGNORECASE)]
    equal(bad, [], "lines of the controllers' log")
    equal(sorted(n for n, p in PROCESSES.items() if p.poll() is None), ["cluster", "workloads"], "processes that live")


CASES = [
    install_is_accepted_whole_and_without_a_warning,
    every_part_can_be_installed_alone,
    the_rights_are_few,
    without_rights_the_log_says_so,
    controllers_run_with_what_install_grants,
    roll_out_goes_by_the_published_groups,
    plan_tells_the_groups_and_changes_nothing,
    a_release_goes_in_place_by_the_same_groups,
    traffic_was_waited_for_and_not_drained,
    rollback_goes_back_by_the_same_groups,
    killed_in_the_middle_of_a_group_it_goes_on_by_the_same_groups,
    the_brake_holds_a_release_and_lets_it_go,
    an_in_place_update_costs_three_writes,
    labelled_workloads_are_not_deleted,
    labelled_namespaces_are_not_deleted,
    definitions_in_use_are_not_deleted,
    unlabelled_everything_goes,
    nothing_was_forbidden,
]


def option(name, otherwise):
    """Takes `--name VALUE` out of the arguments."""
    flag = f"--{name}"
    if flag not in sys.argv:
        return otherwise
    at = sys.argv.index(flag)
    value = sys.argv[at + 1]
    del sys.argv[at : at + 2]
    return value


if __name__ == "__main__":
    os.environ["KUBECONFIG"] = option("kubeconfig", os.environ.get("KUBECONFIG", ""))
    KNARR = os.path.abspath(option("knarr", os.environ.get("KNARR", "target/release/knarr")))
    for wanted in (os.environ["KUBECONFIG"], KNARR):
        if not os.path.isfile(wanted):
            sys.exit(f"fleet.py: no file {wanted or '(nothing)'}: --kubeconfig FILE and --knarr FILE say where")
    atexit.register(end)
    main(CASES, namespace=SIDE)
