"""Releases by cells under a load that nobody here wrote: wrk sends requests to the Service while versions go back and forth.

    python3 conformance/release/wrk.py --knarr target/release/knarr --releases 50

Every release must end with the new version in all cells, and wrk must count no failed request: no answer but 2xx and 3xx, no
error of a socket. A negative control runs at the end: a stock Deployment under the same load must fail some.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "conformance"))
sys.path.insert(0, str(ROOT / "conformance" / "mainjob"))
from up import Up, fail, wait_for  # noqa: E402

CAFE = "/apis/apps.cafe.cloud.alipay.com/v1alpha1/namespaces/cafe/cafedeployments/shop"
CONFIRMED = "cafe.sofastack.io/upgrade-confirmed"
IMAGES = ["knarr.dev/shop:v1", "knarr.dev/shop:v2"]
STOCK = "/apis/apps/v1/namespaces/cafe/deployments"


def merge(api, path, body):
    code, answer = api.call("PATCH", path, body, kind="application/merge-patch+json")
    if code // 100 != 2:
        fail(f"patch {path}: {code} {answer}")
    return answer


def progress(api):
    """One look at the release: confirms a group that asks for it. True when all is through."""
    cafe = api.get(CAFE)
    if cafe["metadata"].get("annotations", {}).get(CONFIRMED) == "false":
        merge(api, CAFE, {"metadata": {"annotations": {CONFIRMED: "true"}}})
        return False
    status, wanted = cafe.get("status", {}), cafe["spec"]["replicas"]
    counts = [status.get(f, 0) for f in ("updatedAvailableReplicas", "availableReplicas", "replicas")]
    seen = status.get("observedGeneration") == cafe["metadata"]["generation"]
    return seen and status.get("phase") == "Stable" and counts == [wanted] * 3


def release(api, image):
    current = api.get(CAFE)
    template = current["spec"]["template"]
    template["spec"]["containers"][0]["image"] = image
    merge(api, CAFE, {"spec": {"template": {"spec": {"containers": template["spec"]["containers"]}}}})
    wait_for(f"release of {image}", lambda: progress(api), 120)


def wrk(url, seconds):
    command = ["wrk", "-t1", "-c32", f"-d{seconds}s", "--timeout", "5s", url]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def counted(out):
    """Requests, answers that are no success, errors of sockets."""
    requests = int(re.search(r"(\d+) requests in", out).group(1))
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", out)
    return requests, int(refused.group(1)) if refused else 0, sum(map(int, errors.groups())) if errors else 0


def address(api, name):
    service = api.get(f"/api/v1/namespaces/cafe/services/{name}")
    return f"http://{service['spec']['clusterIP']}:8080/"


def stock(api):
    """A Deployment as every cluster rolls it, behind a Service of its own."""
    labels = {"app": "stock"}
    template = api.get(CAFE)["spec"]["template"]
    pod = {"metadata": {"labels": labels}, "spec": template["spec"]}
    pod["spec"]["containers"][0]["image"] = IMAGES[0]
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "stock", "namespace": "cafe"},
            "spec": {"replicas": 6, "selector": {"matchLabels": labels}, "template": pod}}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "stock", "namespace": "cafe"},
               "spec": {"selector": labels, "ports": [{"name": "http", "port": 8080, "appProtocol": "http"}]}}
    for path, what in ((STOCK, body), ("/api/v1/namespaces/cafe/services", service)):
        code, answer = api.call("POST", path, what)
        if code // 100 != 2:
            fail(f"create {path}: {code} {answer}")


def rolled(api):
    deployment = api.get(f"{STOCK}/stock")
    status = deployment.get("status", {})
    done = [status.get(f, 0) for f in ("updatedReplicas", "availableReplicas", "replicas")] == [6, 6, 6]
    return done and status.get("observedGeneration") == deployment["metadata"]["generation"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--knarr", required=True)
    parser.add_argument("--releases", type=int, default=50)
    args = parser.parse_args()
    if not shutil.which("wrk"):
        sys.exit("wrk.py: no wrk on this machine: install the package wrk")
    knarr = os.path.abspath(args.knarr)
    directory = tempfile.mkdtemp(prefix="knarr-wrk-")
    up, passed = None, 0
    try:
        up = Up(knarr, directory, "--nodes", "0", "--process-nodes", "4", "--cells", "CellA,CellB")
        api = wait_for("a server", up.api, 60)
        kubeconfig = os.path.join(directory, "kubeconfig")
        subprocess.run([knarr, "apply", "--kubeconfig", kubeconfig, "-f", str(ROOT / "examples" / "cafe")], check=True,
                       stdout=subprocess.DEVNULL)
        wait_for("roll-out", lambda: progress(api), 120)
        url = address(api, "shop")
        for number in range(1, args.releases + 1):
            load = wrk(url, 3600)
            time.sleep(0.3)
            began = time.monotonic()
            release(api, IMAGES[number % 2])
            took = time.monotonic() - began
            time.sleep(0.3)
            load.send_signal(signal.SIGINT)
            requests, refused, errors = counted(load.communicate(timeout=20)[0])
            # On its way out wrk closes its connections: what was open then is no failure of a release.
            if refused or errors or requests < 100:
                fail(f"release {number}: of {requests} requests {refused} were refused and {errors} failed")
            print(f"release {number} in {took:.1f} s: {requests} requests, 0 failed", flush=True)
            passed += 1
        stock(api)
        wait_for("the stock Deployment", lambda: rolled(api), 60)
        load = wrk(address(api, "stock"), 3600)
        time.sleep(0.5)
        template = api.get(f"{STOCK}/stock")["spec"]["template"]["spec"]["containers"]
        template[0]["image"] = IMAGES[1]
        merge(api, f"{STOCK}/stock", {"spec": {"template": {"spec": {"containers": template}}}})
        wait_for("the stock rolling update", lambda: rolled(api), 60)
        time.sleep(0.5)
        load.send_signal(signal.SIGINT)
        requests, refused, errors = counted(load.communicate(timeout=20)[0])
        print(f"control: a stock rolling update: {requests} requests, {refused + errors} failed", flush=True)
        if refused + errors == 0:
            fail("the control failed no request: the load shows nothing")
        print(f"{passed} passed, 0 failed")
    except (AssertionError, OSError, subprocess.SubprocessError) as e:
        print(f"{passed} passed, 1 failed: {e}")
        with open(os.path.join(directory, "up.log"), encoding="utf-8", errors="replace") as log:
            print(log.read()[-3000:], file=sys.stderr)
        sys.exit(1)
    finally:
        if up is not None and up.process.poll() is None:
            up.stop(signal.SIGTERM)
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
