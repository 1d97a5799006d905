"""CPU and memory of the API server alone under a load generator.

    python3 conformance/load/measure.py --knarr target/release/knarr --loadgen PATH [--pods 20000]

Starts `knarr up --without controllers,workloads,scheduler,nodes` on a free port and an empty directory, runs the load
generator against it and prints one table row per figure. CPU is user+system time of the server process from /proc.
"""

import argparse
import http.client
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from _rest import Api  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_kib(pid):
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise SystemExit("no VmRSS")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--knarr", default="target/release/knarr")
    parser.add_argument("--loadgen", required=True)
    parser.add_argument("--pods", type=int, default=20000)
    args = parser.parse_args()
    directory = tempfile.mkdtemp(prefix="knarr-load-")
    command = [args.knarr, "up", "--listen", "127.0.0.1:0", "--data-dir", directory, "--without", "controllers,workloads,scheduler,nodes"]
    log = open(os.path.join(directory, "up.log"), "wb")
    server = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        kubeconfig = os.path.join(directory, "kubeconfig")
        end = time.monotonic() + 30
        while True:
            try:
                api = Api(kubeconfig)
                if api.call("GET", "/readyz", timeout=2)[0] == 200:
                    break
            except (OSError, http.client.HTTPException, ValueError):
                pass
            if time.monotonic() > end or server.poll() is not None:
                raise SystemExit(f"not ready; see {directory}/up.log")
            time.sleep(0.1)
        ca = os.path.join(directory, "ca.crt")
        shutil.copy(os.path.join(directory, "pki", "ca.crt"), ca)
        env = dict(os.environ, LOADGEN_SERVER=f"https://{api.address}", LOADGEN_TOKEN=api.token, LOADGEN_CA=ca)
        idle = resident_kib(server.pid)

        def load(*words):
            before, started = cpu_seconds(server.pid), time.monotonic()
            done = subprocess.run([args.loadgen, *words, "--json"], env=env, capture_output=True, text=True)
            if done.returncode != 0:
                raise SystemExit(f"loadgen {' '.join(words)}: {done.stderr[-2000:]}{done.stdout[-2000:]}")
            report = json.loads(done.stdout.strip().splitlines()[-1])
            return cpu_seconds(server.pid) - before, time.monotonic() - started, report

        print(f"idle resident: {idle / 1024:.1f} MiB")
        cpu, wall, report = load("pods", "10000")
        creates = cpu
        print(f"10,000 creates: {cpu:.2f} CPU s, {wall:.1f} s, {report.get('pods_per_second')} pods/s, sent {report.get('sent_json_bytes_mean')} bytes")
        load("cleanup")
        load("nodes", "200")
        cpu, wall, report = load("pods", str(args.pods), "--running", "--node-spread", "200")
        patches = 3 * args.pods
        per = (cpu - creates * args.pods / 10000) / patches * 10000
        print(f"{args.pods} pods to Running: {cpu:.2f} CPU s, {wall:.1f} s; per 10,000 status patches (creates taken off): {per:.2f} CPU s")
        print(f"status latency: {report.get('status_latency')}")
        resident = resident_kib(server.pid)
        print(f"resident: {resident / 1024:.1f} MiB, {resident / args.pods:.2f} KiB per Running pod (idle included)")
        for words in (["stored", "1000"], ["list"], ["watch", "100"]):
            cpu, wall, report = load(*words)
            print(f"{' '.join(words)}: {cpu:.2f} CPU s, {wall:.1f} s: {json.dumps(report)}")
        print(f"resident at the end: {resident_kib(server.pid) / 1024:.1f} MiB; store on disk: "
              f"{sum(f.stat().st_size for f in pathlib.Path(directory, 'store').rglob('*') if f.is_file()) / 2**20:.0f} MiB")
    finally:
        server.terminate()
        server.wait(timeout=30)
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
