"""SIGKILLs `knarr up` at random moments of a release, again and again.

After every kill and restart: each acknowledged write is there; the release finishes; each pod of the released workload was
updated exactly once; the processes of a bystander workload are the very same.

    python3 conformance/crash/kill.py --knarr target/release/knarr --kills 50 [--seed 1]
"""

import argparse
import http.client
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from _rest import Api  # noqa: E402

NS = "crash"
SETS = f"/apis/apps.kruise.io/v1beta1/namespaces/{NS}/clonesets"
PODS = f"/api/v1/namespaces/{NS}/pods"


def cloneset(name, replicas, image, process):
    placed = {"nodeSelector": {"knarr.dev/runtime": "process" if process else "sim"}}
    if process:
        placed["tolerations"] = [{"key": "knarr.dev/runtime", "operator": "Exists"}]
    probe = {"readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1}} if process else {}
    container = {"name": "main", "image": image, **probe}
    return {
        "apiVersion": "apps.kruise.io/v1beta1", "kind": "CloneSet", "metadata": {"name": name, "namespace": NS},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"set": name}},
            "template": {"metadata": {"labels": {"set": name}},
                         "spec": {"terminationGracePeriodSeconds": 1, "containers": [container], **placed}},
            "updateStrategy": {"rollingUpdate": {"podUpdatePolicy": "InPlaceOnly", "maxUnavailable": 2, "partition": 0}},
        },
    }


class Cluster:
    def __init__(self, knarr, directory):
        self.knarr, self.directory, self.process = knarr, directory, None
        self.kubeconfig = os.path.join(directory, "kubeconfig")
        self.log = open(os.path.join(directory, "up.log"), "ab")

    def start(self):
        command = [self.knarr, "up", "--listen", "127.0.0.1:0", "--data-dir", self.directory, "--nodes", "5", "--process-nodes", "2"]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise SystemExit(f"up ended with {self.process.returncode}; see {self.directory}/up.log")
            try:
                self.api = Api(self.kubeconfig)
                if self.api.call("GET", "/readyz", timeout=2)[0] == 200:
                    return
            except (OSError, http.client.HTTPException, ValueError):
                pass
            time.sleep(0.05)
        raise SystemExit("not ready within 60 s")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=30)


class Writer(threading.Thread):
    """Writes counters and remembers what was acknowledged."""

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.cluster, self.acknowledged, self.count, self.paused, self.done = cluster, {}, 0, threading.Event(), False

    def run(self):
        n = 0
        while not self.done:
            if self.paused.is_set():
                time.sleep(0.01)
                continue
            n += 1
            name = f"counter-{n % 20}"
            body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"n": str(n)}}
            try:
                status, found = self.cluster.api.call(
                    "PATCH", f"/api/v1/namespaces/{NS}/configmaps/{name}?fieldManager=crash&force=true", body, "application/apply-patch+yaml", 5)
                if status in (200, 201):
                    self.acknowledged[name] = (n, int(found["metadata"]["resourceVersion"]))
                    self.count += 1
            except (OSError, http.client.HTTPException, ValueError):
                time.sleep(0.02)


def fail(message):
    raise AssertionError(message)


def wait_for(what, check, seconds=90):
    end = time.monotonic() + seconds
    last = None
    while time.monotonic() < end:
        try:
            last = check()
            if last is True:
                return
        except (OSError, http.client.HTTPException, LookupError, KeyError, IndexError) as e:
            last = e
        time.sleep(0.1)
    fail(f"{what}: not within {seconds} s: {last}")


def pods_of(api, name):
    return {p["metadata"]["name"]: p for p in api.get(f"{PODS}?labelSelector=set%3D{name}")["items"]}


def finished(api, name, image):
    def check():
        s = api.get(f"{SETS}/{name}")
        status, want = s["status"], s["spec"]["replicas"]
        now = [status.get(k) for k in ("replicas", "updatedReplicas", "updatedReadyReplicas", "readyReplicas")]
        if now != [want] * 4 or status["observedGeneration"] != s["metadata"]["generation"]:
            return f"{name}: {now} of {want}"
        for pod in pods_of(api, name).values():
            if pod["spec"]["containers"][0]["image"] != image or not pod["status"]["containerStatuses"][0]["ready"]:
                return f"{pod['metadata']['name']} runs {pod['spec']['containers'][0]['image']}"
        return True
    return check


def identity(pod):
    status = pod["status"]["containerStatuses"][0]
    return pod["metadata"]["uid"], pod["status"]["podIP"], status["containerID"], status["restartCount"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--knarr", default="target/release/knarr")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    args = parser.parse_args()
    print(f"seed {args.seed}", flush=True)
    dice = random.Random(args.seed)
    directory = tempfile.mkdtemp(prefix="knarr-crash-")
    cluster = Cluster(args.knarr, directory)
    cluster.start()
    writer = None
    try:
        api = cluster.api
        api.call("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NS}})
        for spec in [cloneset("shop", 6, "knarr.dev/shop:v1", True), cloneset("bystander", 2, "knarr.dev/shop:v1", True), cloneset("crowd", 20, "app:1", False)]:
            status, found = api.call("POST", SETS, spec)
            if status != 201:
                fail(f"create {spec['metadata']['name']}: {status} {found}")
        for name, image in [("shop", "knarr.dev/shop:v1"), ("bystander", "knarr.dev/shop:v1"), ("crowd", "app:1")]:
            wait_for(f"{name} starts", finished(api, name, image))
        writer = Writer(cluster)
        writer.start()
        bystanders = {n: identity(p) for n, p in pods_of(api, "bystander").items()}
        released = {"shop": {n: identity(p) for n, p in pods_of(api, "shop").items()}, "crowd": {n: identity(p) for n, p in pods_of(api, "crowd").items()}}
        version = 1
        for kill in range(1, args.kills + 1):
            version += 1
            images = {"shop": f"knarr.dev/shop:v{1 + (version - 1) % 2}", "crowd": f"app:{version}"}
            for name, image in images.items():
                s = cluster.api.get(f"{SETS}/{name}")
                s["spec"]["template"]["spec"]["containers"][0]["image"] = image
                cluster.api.merge(f"{SETS}/{name}", {"spec": {"template": s["spec"]["template"]}})
            delay = dice.choice([dice.uniform(0, 0.3), dice.uniform(0, 3)])
            time.sleep(delay)
            writer.paused.set()
            cluster.kill()
            writer.paused.clear()
            cluster.start()
            api = cluster.api
            for name, (n, revision) in dict(writer.acknowledged).items():
                found = api.get(f"/api/v1/namespaces/{NS}/configmaps/{name}")
                if int(found["data"]["n"]) < n or int(found["metadata"]["resourceVersion"]) < revision:
                    fail(f"acknowledged write lost: {name}={n} at {revision}, found {found['data']} at {found['metadata']['resourceVersion']}")
            for name, image in images.items():
                wait_for(f"release of {name} to {image}", finished(api, name, image))
                now = {n: identity(p) for n, p in pods_of(api, name).items()}
                if now.keys() != released[name].keys():
                    fail(f"{name}: other pods: {sorted(now)} instead of {sorted(released[name])}")
                for pod, (uid, ip, container, restarts) in now.items():
                    before = released[name][pod]
                    if (uid, ip) != before[:2]:
                        fail(f"{pod}: identity changed from {before} to {(uid, ip)}")
                    if container == before[2] or restarts != before[3] + 1:
                        fail(f"{pod}: updated {restarts - before[3]} times in one release, container {before[2]} -> {container}")
                released[name] = now
            now = {n: identity(p) for n, p in pods_of(api, "bystander").items()}
            if now != bystanders:
                fail(f"bystander processes were touched: {bystanders} -> {now}")
            print(f"kill {kill} after {delay:.2f} s: release to version {version} whole, {writer.count} writes kept", flush=True)
        writer.done = True
        cluster.stop()
    except AssertionError as e:
        print(f"FAIL {e}\nlog and data: {directory}", flush=True)
        print(f"{0} passed, 1 failed")
        cluster.process.send_signal(signal.SIGTERM)
        sys.exit(1)
    finally:
        if writer:
            writer.done = True
        if cluster.process.poll() is None:
            cluster.process.send_signal(signal.SIGTERM)
    print(f"{args.kills} passed, 0 failed")


if __name__ == "__main__":
    main()
