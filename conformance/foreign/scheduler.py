#!/usr/bin/env python3
"""Our scheduler beside kube-scheduler, on equal clusters, one pod at a time.

  scheduler.py --knarr FILE --kube-scheduler FILE [--seeds A-B] [--pods N] [--nodes N] [--record DIR]

For each seed two clusters are started (`knarr up` without controllers and nodes), one scheduled by kube-scheduler, one by
Knarr. Both get the same random nodes (zones, racks, taints, cordons, sizes, images) and the same pods: placed ones first, then
one after the other with requests, selectors, affinity, spreading, ports and tolerations. kube-scheduler scores all nodes and
tells its scores (-v=10).

Compared for each pod: whether it is placed; if so, whether our node is among those with kube-scheduler's best score (it breaks
ties by chance, Knarr by number of pods and name); if not, the sentence of the condition. kube-scheduler 1.36 no longer says which taint
keeps a pod away, Knarr does: the words in braces are left out of the comparison, and so is what its rule about devices, which Knarr does
not have, says of every pod. After each pod both clusters are brought to the same
state: the pod is put where kube-scheduler put it. Exit 0 when nothing differs.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from _rest import Api  # noqa: E402

PODS = "/api/v1/namespaces/default/pods"
FINAL = re.compile(r'"Calculated node\'s final score for pod" pod="default/([^"]+)" node="([^"]+)" score=(-?\d+)')
# What kube-scheduler's rule about devices adds, whether or not the pod has claims of devices.
DEVICES = " no new claims to deallocate,"
TAINT = re.compile(r"untolerated taint(\(s\)| \{[^}]*\})")


def node(dice, i):
    labels = {"kubernetes.io/hostname": f"n{i}"}
    if dice.random() < 0.8:
        labels["topology.kubernetes.io/zone"] = f"z{dice.randrange(3)}"
    if dice.random() < 0.7:
        labels["rack"] = str(dice.randrange(4))
    if dice.random() < 0.4:
        labels["disk"] = dice.choice(["ssd", "hdd"])
    taints = [{"key": dice.choice("kl"), "value": "v", "effect": dice.choice(["NoSchedule", "PreferNoSchedule", "NoExecute"])}
              for _ in range(2) if dice.random() < 0.2]
    # A key and an effect can be on a node once.
    taints = list({(t["key"], t["effect"]): t for t in taints}.values())
    images = [{"names": [name], "sizeBytes": size << 20} for name, size in
              [("web:latest", 300), ("db:1", 900), ("small:1", 5)] if dice.random() < 0.3]
    amounts = {"cpu": dice.choice(["1", "2", "4", "8"]), "memory": dice.choice(["2Gi", "4Gi", "8Gi"]),
               "pods": dice.choice(["4", "10", "110"]), "ephemeral-storage": "10Gi"}
    spec = {"taints": taints} if taints else {}
    if dice.random() < 0.08:
        spec["unschedulable"] = True
    return {"metadata": {"name": f"n{i}", "labels": labels}, "spec": spec}, \
        {"status": {"capacity": amounts, "allocatable": amounts, "images": images,
                    "conditions": [{"type": "Ready", "status": "True", "reason": "Test", "message": "test"}]}}


def selector(dice):
    return dice.choice([{"matchLabels": {"app": "a"}}, {"matchLabels": {"app": "b"}},
                        {"matchExpressions": [{"key": "app", "operator": "In", "values": ["a", "c"]}]}, {}])


def topology(dice):
    return dice.choice(["topology.kubernetes.io/zone", "kubernetes.io/hostname", "rack"])


def term(dice):
    return {"labelSelector": selector(dice), "topologyKey": topology(dice)}


def node_term(dice):
    return {"matchExpressions": dice.choice([
        [{"key": "rack", "operator": "In", "values": ["1", "2"]}],
        [{"key": "topology.kubernetes.io/zone", "operator": "NotIn", "values": ["z1"]}],
        [{"key": "rack", "operator": "Gt", "values": ["0"]}],
        [{"key": "disk", "operator": "Exists"}]])}


def pod(dice, name):
    requests = {}
    if dice.random() < 0.85:
        requests["cpu"] = f"{dice.randrange(1, 9) * 150}m"
    if dice.random() < 0.7:
        requests["memory"] = f"{dice.randrange(1, 16) * 128}Mi"
    container = {"name": "c", "image": dice.choice(["web", "db:1", "small:1", "other"]), "resources": {"requests": requests}}
    if dice.random() < 0.1:
        container["ports"] = [{"containerPort": 80, "hostPort": 8080}]
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    if dice.random() < 0.25:
        spec["tolerations"] = dice.choice([[{"operator": "Exists"}], [{"key": "k", "operator": "Exists"}],
                                           [{"key": "l", "value": "v", "effect": "NoSchedule"}]])
    if dice.random() < 0.1:
        spec["nodeSelector"] = {"disk": "ssd"}
    if dice.random() < 0.35:
        spec["topologySpreadConstraints"] = [
            {"maxSkew": dice.randrange(1, 3), "topologyKey": key, "labelSelector": selector(dice),
             "whenUnsatisfiable": dice.choice(["DoNotSchedule", "ScheduleAnyway"])}
            for key in {topology(dice) for _ in range(dice.randrange(1, 3))}]
    must, may = "requiredDuringSchedulingIgnoredDuringExecution", "preferredDuringSchedulingIgnoredDuringExecution"
    affinity = {}
    if dice.random() < 0.15:
        affinity.setdefault("nodeAffinity", {})[must] = {"nodeSelectorTerms": [node_term(dice)]}
    if dice.random() < 0.3:
        affinity.setdefault("nodeAffinity", {})[may] = [{"weight": dice.randrange(1, 100), "preference": node_term(dice)}]
    if dice.random() < 0.12:
        affinity.setdefault("podAffinity", {})[must] = [term(dice)]
    if dice.random() < 0.25:
        affinity.setdefault("podAntiAffinity", {})[must] = [term(dice)]
    for kind in ("podAffinity", "podAntiAffinity"):
        if dice.random() < 0.25:
            affinity.setdefault(kind, {})[may] = [{"weight": dice.randrange(1, 100), "podAffinityTerm": term(dice)}]
    if affinity:
        spec["affinity"] = affinity
    return {"metadata": {"name": name, "labels": {"app": dice.choice("aabc")}}, "spec": spec}


class Cluster:
    """A server, and a scheduler that works on it."""

    def __init__(self, name, args, directory, foreign):
        self.name, self.foreign, self.processes = name, foreign, []
        home = os.path.join(directory, name)
        os.makedirs(home)
        self.log = os.path.join(home, "scheduler.log")
        without = "controllers,workloads,nodes,proxy,console" + (",scheduler" if foreign else "")
        up = [args.knarr, "up", "--listen", "127.0.0.1:0", "--data-dir", os.path.join(home, "data"), "--without", without]
        self.run(up, os.path.join(home, "up.log"))
        config = os.path.join(home, "data", "kubeconfig")
        self.api = wait(lambda: os.path.exists(config) and self.ready(config), 60, "the server")
        if foreign:
            path = os.path.join(home, "config.yaml")
            with open(path, "w", encoding="utf-8") as f:
                json.dump({"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration",
                           "percentageOfNodesToScore": 100, "leaderElection": {"leaderElect": False},
                           "clientConnection": {"kubeconfig": config, "qps": 500, "burst": 500}}, f)
            self.run([args.kube_scheduler, "--config", path, "-v=10", "--secure-port=0"], self.log)
        self.read = 0
        self.scores = {}

    def ready(self, config):
        try:
            api = Api(config)
            return api if api.call("GET", "/readyz")[0] == 200 else None
        except (OSError, ValueError, KeyError):
            return None

    def run(self, words, log):
        out = open(log, "ab")
        self.processes.append(subprocess.Popen(words, stdout=out, stderr=out, start_new_session=True))

    def post(self, path, body):
        status, answer = self.api.call("POST", path, body)
        if status not in (200, 201):
            raise SystemExit(f"{self.name}: POST {path}: {status} {answer}")

    def put_node(self, head, status):
        self.post("/api/v1/nodes", head)
        path = f"/api/v1/nodes/{head['metadata']['name']}"
        code, answer = self.api.call("PATCH", path + "/status", status, "application/strategic-merge-patch+json")
        if code != 200:
            raise SystemExit(f"{self.name}: PATCH {path}: {code} {answer}")
        # Without a controller nobody takes off the taint that nodes are born with.
        taints = head["spec"].get("taints", [])
        self.api.merge(path, {"spec": {"taints": taints or None}})

    def verdict(self, name):
        """Where the pod went, or what is said of it; nothing while neither is known."""
        found = self.api.get(f"{PODS}/{name}")
        if found["spec"].get("nodeName"):
            return found["spec"]["nodeName"], None
        for condition in found.get("status", {}).get("conditions", []):
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                return None, condition.get("message", "")
        return None

    def best(self, name):
        """kube-scheduler's final scores of a pod, by node; empty when only one node was left and it did not score."""
        with open(self.log, encoding="utf-8", errors="replace") as f:
            f.seek(self.read)
            for line in f:
                found = FINAL.search(line)
                if found:
                    self.scores.setdefault(found[1], {})[found[2]] = int(found[3])
            self.read = f.tell()
        return self.scores.get(name, {})

    def replace(self, body, where):
        """The pod as if it had been put there at once."""
        name = body["metadata"]["name"]
        self.api.call("DELETE", f"{PODS}/{name}?gracePeriodSeconds=0")
        wait(lambda: self.api.call("GET", f"{PODS}/{name}")[0] == 404, 20, f"{name} to go")
        if where:
            self.post(PODS, {**body, "spec": {**body["spec"], "nodeName": where}})

    def stop(self):
        for process in reversed(self.processes):
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def wait(check, seconds, what):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = check()
        if found:
            return found
        time.sleep(0.02)
    raise SystemExit(f"waited {seconds} s for {what}")


def merged(text):
    """Counts of the same sentence added up: several taints are one sentence upstream."""
    counts = {}
    text = TAINT.sub("untolerated taint", text.replace(DEVICES, ""))
    head, _, rest = text.partition(": ")
    for part in re.split(r"(?:, |\. )", rest.rstrip(".")):
        found = re.match(r"(\d+) (.*)", part)
        key, n = (found[2], int(found[1])) if found else (part, 0)
        counts[key] = counts.get(key, 0) + n
    return head, counts


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--knarr", default=shutil.which("knarr"))
    parser.add_argument("--kube-scheduler", default=shutil.which("kube-scheduler"))
    parser.add_argument("--seeds", default="1-5")
    parser.add_argument("--pods", type=int, default=40)
    parser.add_argument("--nodes", type=int, default=8)
    parser.add_argument("--record", help="directory for kube-scheduler's answers, one file for each seed: they are replayed by the tests of sched-plugins")
    parser.add_argument("--keep", help="directory for logs and data [default: one that is removed]")
    args = parser.parse_args()
    for name in ("knarr", "kube_scheduler"):
        if not getattr(args, name):
            sys.exit(f"scheduler.py: no {name.replace('_', '-')}: name one with --{name.replace('_', '-')}")
    first, _, last = args.seeds.partition("-")
    totals = {"cases": 0, "same node": 0, "tie": 0, "refused alike": 0, "different": 0}
    for seed in range(int(first), int(last or first) + 1):
        directory = args.keep and os.path.join(args.keep, str(seed)) or tempfile.mkdtemp(prefix="scheduler-")
        os.makedirs(directory, exist_ok=True)
        compare(seed, args, directory, totals)
        if not args.keep:
            shutil.rmtree(directory, ignore_errors=True)
        print(f"seed {seed}: " + ", ".join(f"{n} {what}" for what, n in totals.items()), flush=True)
    print("no difference" if totals["different"] == 0 else "DIFFERENT")
    return 1 if totals["different"] else 0


def compare(seed, args, directory, totals):
    dice = random.Random(seed)
    theirs, ours = Cluster("kube-scheduler", args, directory, True), None
    try:
        ours = Cluster("knarr", args, directory, False)
        both = (theirs, ours)
        record = {"nodes": [], "placed": [], "cases": []}
        for i in range(args.nodes):
            head, status = node(dice, i)
            record["nodes"].append({**head, **{"status": {k: status["status"][k] for k in ("allocatable", "images")}}})
            for cluster in both:
                cluster.put_node(json.loads(json.dumps(head)), status)
        for i in range(args.nodes * 2):
            body = pod(dice, f"old{i}")
            body["spec"]["nodeName"] = f"n{dice.randrange(args.nodes)}"
            record["placed"].append(body)
            for cluster in both:
                cluster.post(PODS, body)
        time.sleep(1)
        for i in range(args.pods):
            body = pod(dice, f"p{i}")
            for cluster in both:
                cluster.post(PODS, body)
            name = body["metadata"]["name"]
            upstream, here = (wait(lambda: c.verdict(name), 60, f"{c.name} to decide about {name}") for c in both)
            if args.record:
                time.sleep(0.1)
                answer = {"node": upstream[0], "scores": theirs.best(name)} if upstream[0] else {"says": upstream[1]}
                record["cases"].append({"pod": body, **answer})
            before = totals["different"]
            judge(seed, name, upstream, here, theirs, totals)
            if args.keep and totals["different"] > before:
                state = {"pod": body, "nodes": ours.api.get("/api/v1/nodes")["items"], "pods": ours.api.get(PODS)["items"]}
                with open(os.path.join(directory, f"{name}.json"), "w", encoding="utf-8") as f:
                    json.dump(state, f, indent=1)
            for cluster in both:
                cluster.replace(body, upstream[0])
        if args.record:
            os.makedirs(args.record, exist_ok=True)
            with open(os.path.join(args.record, f"seed-{seed}.json"), "w", encoding="utf-8") as f:
                f.write('{"nodes": [\n' + ",\n".join(json.dumps(n) for n in record["nodes"]) + "\n], \"placed\": [\n")
                f.write(",\n".join(json.dumps(p) for p in record["placed"]) + "\n], \"cases\": [\n")
                f.write(",\n".join(json.dumps(c) for c in record["cases"]) + "\n]}\n")
    finally:
        for cluster in (theirs, ours):
            if cluster:
                cluster.stop()


def judge(seed, name, upstream, here, theirs, totals):
    totals["cases"] += 1
    (their_node, their_words), (our_node, our_words) = upstream, here
    if their_node is None and our_node is None:
        if merged(their_words) == merged(our_words):
            totals["refused alike"] += 1
            return
    elif their_node == our_node:
        totals["same node"] += 1
        return
    elif their_node and our_node:
        scores = wait(lambda: theirs.best(name), 5, f"scores of {name}")
        if scores.get(our_node) == max(scores.values()):
            totals["tie"] += 1
            return
        their_words = f"scores {scores}"
    totals["different"] += 1
    print(f"seed {seed} {name}: kube-scheduler {their_node or ''} {their_words or ''}\n    knarr {our_node or ''} {our_words or ''}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
