"""The README's first command as a user sees it: a cluster, an application that answers, a release in place, a clean stop, and
the same data directory going on where it was.

    python3 conformance/mainjob/up.py --knarr target/release/knarr
"""

import argparse
import http.client
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from _rest import Api  # noqa: E402

PODS = "/api/v1/namespaces/shop/pods"
SET = "/apis/apps.kruise.io/v1beta1/namespaces/shop/clonesets/shop"


def fail(message):
    raise AssertionError(message)


def wait_for(what, check, seconds):
    end, last = time.monotonic() + seconds, None
    while time.monotonic() < end:
        try:
            last = check()
            if last is not None and last is not False:
                return last
        except (OSError, http.client.HTTPException, LookupError, ValueError) as e:
            last = e
        time.sleep(0.05)
    fail(f"{what}: not within {seconds} s: {last}")


class Up:
    def __init__(self, knarr, directory, *more):
        self.directory = directory
        self.log = open(os.path.join(directory, "up.log"), "ab")
        command = [knarr, "up", "--listen", "127.0.0.1:0", "--data-dir", directory, *more]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)

    def api(self):
        if self.process.poll() is not None:
            fail(f"up ended with {self.process.returncode}")
        api = Api(os.path.join(self.directory, "kubeconfig"))
        return api if api.call("GET", "/readyz", timeout=2)[0] == 200 else None

    def stop(self, number=signal.SIGINT):
        started = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(timeout=20)
        return code, time.monotonic() - started


def served(pod):
    with urllib.request.urlopen(f"http://{pod['status']['podIP']}:8080/", timeout=2) as answer:
        return json.load(answer)["version"]


def versions(api):
    pods = api.get(PODS)["items"]
    if len(pods) != 6 or not all(p["status"].get("podIP") for p in pods):
        return None
    return sorted(served(p) for p in pods), {p["metadata"]["name"]: p for p in pods}


def all_at(api, version):
    def check():
        found = versions(api)
        return found[1] if found and found[0] == [version] * 6 else None
    return check


def children(directory):
    """Processes that belong to this data directory."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                line = open(f"/proc/{entry}/cmdline", "rb").read().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if directory in line:
                found.append((int(entry), line))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--knarr", default="target/release/knarr")
    args = parser.parse_args()
    directory = tempfile.mkdtemp(prefix="knarr-up-")
    passed = 0
    up = None
    try:
        started = time.monotonic()
        up = Up(args.knarr, directory, "--apply", "examples/shop")
        api = wait_for("the API server answers", up.api, 20)
        first = wait_for("six pods serve version 1 or 2", lambda: versions(api), 30)
        print(f"ok   the application answers after {time.monotonic() - started:.1f} s", flush=True)
        passed += 1

        budget = []
        def released():
            s = api.get(SET)["status"]
            budget.append(s.get("availableReplicas", 0))
            return all_at(api, "v2")()
        second = wait_for("six pods serve version 2", released, 60)
        for name, pod in second.items():
            before = first[1][name]
            if (pod["metadata"]["uid"], pod["status"]["podIP"]) != (before["metadata"]["uid"], before["status"]["podIP"]):
                fail(f"{name} is another pod than before the release")
        print(f"ok   version 2 is released in place after {time.monotonic() - started:.1f} s", flush=True)
        passed += 1

        done = lambda: (s := api.get(SET))["status"].get("updatedReadyReplicas") == 6 and s["status"]["observedGeneration"] == s["metadata"]["generation"]
        wait_for("the set says so", done, 30)
        wait_for("up has noted it", lambda: os.path.exists(os.path.join(directory, "applied.json")) and '2' in open(os.path.join(directory, "applied.json")).read(), 30)
        code, took = up.stop()
        if code != 0 or took > 12:
            fail(f"Ctrl-C: exit code {code} after {took:.1f} s")
        left = children(directory)
        if left:
            fail(f"processes left behind: {left}")
        print(f"ok   Ctrl-C ends everything in {took:.1f} s", flush=True)
        passed += 1

        up = Up(args.knarr, directory, "--apply", "examples/shop")
        api = wait_for("the API server answers again", up.api, 20)
        third = wait_for("six pods serve version 2 again", all_at(api, "v2"), 60)
        if {n: p["metadata"]["uid"] for n, p in third.items()} != {n: p["metadata"]["uid"] for n, p in second.items()}:
            fail("other pods after a restart with the same data directory")
        print("ok   the same data directory goes on at version 2 with the same pods", flush=True)
        passed += 1

        other = subprocess.run([args.knarr, "up", "--data-dir", directory], capture_output=True, text=True, timeout=20)
        if other.returncode == 0 or "in use by process" not in other.stderr:
            fail(f"a second `up` on the same directory: {other.returncode} {other.stderr}")
        taken = tempfile.mkdtemp(prefix="knarr-up-")
        other = subprocess.run([args.knarr, "up", "--data-dir", taken, "--listen", api.address], capture_output=True, text=True, timeout=20)
        if other.returncode == 0 or "--listen" not in other.stderr:
            fail(f"`up` on a taken port: {other.returncode} {other.stderr}")
        shutil.rmtree(taken)
        print("ok   a taken directory and a taken port are refused with what to do", flush=True)
        passed += 1
        up.stop(signal.SIGTERM)
    except AssertionError as e:
        print(f"FAIL {e}\n{open(os.path.join(directory, 'up.log'), errors='replace').read()[-4000:]}", flush=True)
        if up and up.process.poll() is None:
            up.stop(signal.SIGTERM)
        print(f"{passed} passed, 1 failed")
        sys.exit(1)
    shutil.rmtree(directory, ignore_errors=True)
    print(f"{passed} passed, 0 failed")


if __name__ == "__main__":
    main()
