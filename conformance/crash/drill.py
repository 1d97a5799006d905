"""Backs up a cluster under load, restores the backup elsewhere, and compares every object and its version.

The state at the backup's own version is read from the running cluster's history and must be what the restored cluster shows: no object
more, none less, none different. Then the restored cluster must take up its keys (the old kubeconfig's token and authority work), go
on above every version that anybody has seen, and tell a watch from the past that it is gone.

    python3 conformance/crash/drill.py --knarr target/release/knarr [--seconds 5]
"""

import argparse
import http.client
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from _rest import Api  # noqa: E402

MAPS = "/api/v1/namespaces/default/configmaps"
# What a server keeps fresh by itself.
OWN = {"leases", "events"}


class Cluster:
    def __init__(self, knarr, directory):
        self.knarr, self.directory = knarr, directory
        self.kubeconfig = os.path.join(directory, "kubeconfig")
        self.log = open(directory + ".log", "ab")
        command = [knarr, "up", "--listen", "127.0.0.1:0", "--data-dir", directory,
                   "--without", "controllers,workloads,scheduler,nodes,proxy,console"]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while True:
            if self.process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"up is not ready:\n{open(directory + '.log').read()}")
            try:
                self.api = Api(self.kubeconfig)
                if self.api.call("GET", "/readyz", timeout=2)[0] == 200:
                    return
            except (OSError, http.client.HTTPException, ValueError):
                time.sleep(0.05)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=30)


class Writer(threading.Thread):
    """Creates, changes and deletes, so that the backup meets all of it."""

    def __init__(self, api, number):
        super().__init__(daemon=True)
        self.api, self.number, self.writes, self.done = api, number, 0, False

    def run(self):
        n = 0
        while not self.done:
            name = f"w{self.number}-{n % 200}"
            body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"n": str(n)}}
            if n % 7 == 6:
                self.api.call("DELETE", f"{MAPS}/{name}")
            elif self.api.call("POST", MAPS, body)[0] == 409:
                self.api.merge(f"{MAPS}/{name}", {"data": {"n": str(n)}})
            self.writes += 1
            n += 1


def resources(api):
    """Paths of everything that can be listed."""
    found = []
    groups = [("/api/v1", api.get("/api/v1"))]
    for group in api.get("/apis")["groups"]:
        version = group["preferredVersion"]["groupVersion"]
        groups.append((f"/apis/{version}", api.get(f"/apis/{version}")))
    for path, group in groups:
        for resource in group["resources"]:
            if "list" in resource["verbs"] and "/" not in resource["name"] and resource["name"] not in OWN:
                found.append(f"{path}/{resource['name']}")
    return found


def state(api, at=None):
    """Every object by path, namespace and name, as it was at a version."""
    query = f"?resourceVersion={at}&resourceVersionMatch=Exact" if at else ""
    out = {}
    for path in resources(api):
        for item in api.get(path + query).get("items") or []:
            meta = item["metadata"]
            out[path, meta.get("namespace", ""), meta["name"]] = json.dumps(item, sort_keys=True)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--knarr", required=True)
    parser.add_argument("--seconds", type=float, default=5)
    args = parser.parse_args()
    knarr = str(pathlib.Path(args.knarr).resolve())
    with tempfile.TemporaryDirectory(prefix="knarr-drill-") as work:
        first = Cluster(knarr, os.path.join(work, "first"))
        writers = [Writer(Api(first.kubeconfig), n) for n in range(4)]
        for writer in writers:
            writer.start()
        time.sleep(args.seconds / 2)
        saved = os.path.join(work, "saved")
        told = subprocess.run([knarr, "store", "backup", "--to", saved, "--kubeconfig", first.kubeconfig],
                              check=True, capture_output=True, text=True).stdout
        head = int(re.search(r"newest version (\d+)", told).group(1))
        time.sleep(args.seconds / 2)
        for writer in writers:
            writer.done = True
        for writer in writers:
            writer.join()
        wanted = state(first.api, at=head)
        newest = int(first.api.get(MAPS)["metadata"]["resourceVersion"])
        first.stop()
        assert newest > head, "nothing was written after the backup: it was no load"

        copy = os.path.join(work, "second")
        subprocess.run([knarr, "store", "restore", "--from", saved, "--data-dir", copy], check=True, capture_output=True)
        subprocess.run([knarr, "store", "verify", "--data-dir", copy], check=True, capture_output=True)
        second = Cluster(knarr, copy)
        with open(first.kubeconfig) as a, open(second.kubeconfig) as b:
            old, new = json.load(a), json.load(b)
        assert old["users"] == new["users"], "the administrator's token has changed"
        ca = "certificate-authority-data"
        assert old["clusters"][0]["cluster"][ca] == new["clusters"][0]["cluster"][ca], "the authority has changed"
        found = state(second.api)
        # What the second server writes at its start is about itself: its own address.
        own = {k for k in set(wanted) | set(found) if k[2] in ("kubernetes", "kube-root-ca.crt")}
        for key in sorted((set(wanted) | set(found)) - own):
            assert key in found, f"{key} is missing"
            assert key in wanted, f"{key} is too much"
            assert wanted[key] == found[key], f"{key} differs:\n{wanted[key]}\n{found[key]}"
        made = second.api.call("POST", MAPS, {"metadata": {"name": "after"}})[1]
        assert int(made["metadata"]["resourceVersion"]) > newest, "a version was given twice"
        event = next(second.api.watch(f"{MAPS}?resourceVersion={newest}"))
        assert event[0] == "ERROR" and event[1]["code"] == 410, event
        second.stop()
        writes = sum(writer.writes for writer in writers)
        print(f"drill: {len(wanted)} objects of version {head} restored alike; {writes} writes around the backup, "
              f"newest seen {newest}, first new version {made['metadata']['resourceVersion']}")


if __name__ == "__main__":
    main()
