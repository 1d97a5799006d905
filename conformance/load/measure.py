"""CPU, memory and latency under a load generator.

    python3 conformance/load/measure.py --knarr target/release/knarr --loadgen PATH [--pods 20000] [--only PART ...]

The parts, each with a server of its own on a free port and an empty directory:

    writes   creates, status patches, memory for each Running pod, lists
    watches  100 watchers of everything at 100 changes/s; 1,000 watchers of one node each at 1,000 changes/s
    churn    200 creates and deletes a second beside 1,000 leases
    sched    10,000 pods at once on 5,000 simulated nodes, then 1,000 a second

All but the last measure `knarr up --without controllers,workloads,scheduler,nodes`. CPU is user+system time of the server process
from /proc. A watch's CPU for each delivery leaves out what the same creates and the opening of as many connections cost by
themselves; how long a delivery took is told by the server's own histogram, from durable to the connection.
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

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from _rest import Api  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")
ALONE = ["--without", "controllers,workloads,scheduler,nodes"]
DELIVERIES = "knarr_apiserver_watch_delivery_duration_seconds_bucket"
SETTLE_SECONDS = 20


class Server:
    """A server under load, with a directory that goes with it."""

    def __init__(self, args, words):
        self.loadgen = args.loadgen
        self.directory = tempfile.mkdtemp(prefix="knarr-load-")
        command = [args.knarr, "up", "--listen", "127.0.0.1:0", "--data-dir", self.directory, *words]
        self.log = open(os.path.join(self.directory, "up.log"), "wb")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)

    def __enter__(self):
        end = time.monotonic() + 60
        while not self.is_ready():
            if time.monotonic() > end or self.process.poll() is not None:
                raise SystemExit(f"not ready; see {self.directory}/up.log")
            time.sleep(0.1)
        ca = os.path.join(self.directory, "ca.crt")
        shutil.copy(os.path.join(self.directory, "pki", "ca.crt"), ca)
        self.env = dict(os.environ, LOADGEN_SERVER=f"https://{self.api.address}", LOADGEN_TOKEN=self.api.token, LOADGEN_CA=ca)
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)
        self.log.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def is_ready(self):
        try:
            self.api = Api(os.path.join(self.directory, "kubeconfig"))
            return self.api.call("GET", "/readyz", timeout=2)[0] == 200
        except (OSError, http.client.HTTPException, ValueError):
            return False

    def cpu_seconds(self):
        fields = open(f"/proc/{self.process.pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def resident_kib(self):
        for line in open(f"/proc/{self.process.pid}/status"):
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise SystemExit("no VmRSS")

    def store_mib(self):
        files = pathlib.Path(self.directory, "store").rglob("*")
        return sum(f.stat().st_size for f in files if f.is_file()) / 2**20

    def load(self, *words):
        """Runs the load generator; gives the server's CPU, the time it took, and its report."""
        before, started = self.cpu_seconds(), time.monotonic()
        done = subprocess.run([self.loadgen, *words, "--json"], env=self.env, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"loadgen {' '.join(words)}: {done.stderr[-2000:]}{done.stdout[-2000:]}")
        report = json.loads(done.stdout.strip().splitlines()[-1])
        return self.cpu_seconds() - before, time.monotonic() - started, report

    def deliveries(self):
        """The histogram of watch deliveries: how many took at most so many seconds."""
        found = {}
        for line in self.api.call("GET", "/metrics")[1].splitlines():
            if line.startswith(DELIVERIES):
                bound, count = line.split('le="')[1].split('"} ')
                found[float("inf") if bound == "+Inf" else float(bound)] = int(count)
        return found


def p99(before, after):
    """The bound that 99 of 100 deliveries kept, in milliseconds."""
    counts = {bound: count - before.get(bound, 0) for bound, count in sorted(after.items())}
    wanted = 0.99 * max(counts.values(), default=0)
    return next((bound * 1000 for bound, count in counts.items() if count >= wanted), None)


def writes(args):
    with Server(args, ALONE) as server:
        idle = server.resident_kib()
        print(f"idle resident: {idle / 1024:.1f} MiB")
        creates, wall, report = server.load("pods", "10000")
        print(
            f"10,000 creates: {creates:.2f} CPU s, {wall:.1f} s, {report.get('pods_per_second')} pods/s, "
            f"sent {report.get('sent_json_bytes_mean')} bytes"
        )
        server.load("cleanup")
        server.load("nodes", "200")
        cpu, wall, report = server.load("pods", str(args.pods), "--running", "--node-spread", "200")
        per = (cpu - creates * args.pods / 10000) / (3 * args.pods) * 10000
        print(
            f"{args.pods} pods to Running: {cpu:.2f} CPU s, {wall:.1f} s; "
            f"per 10,000 status patches (creates taken off): {per:.2f} CPU s"
        )
        print(f"status latency: {report.get('status_latency')}")
        resident = server.resident_kib()
        print(f"resident: {resident / 1024:.1f} MiB, {resident / args.pods:.2f} KiB per Running pod (idle included)")
        for words in (["stored", "1000"], ["list"], ["watch", "100"]):
            cpu, wall, report = server.load(*words)
            print(f"{' '.join(words)}: {cpu:.2f} CPU s, {wall:.1f} s: {json.dumps(report)}")
        print(f"resident at the end: {server.resident_kib() / 1024:.1f} MiB; store on disk: {server.store_mib():.0f} MiB")


def watches(args):
    for watchers, rate, pods, selector in ((100, 100, 1000, []), (1000, 1000, 10000, ["--field-selector", "spec.nodeName={node}"])):
        with Server(args, ALONE) as server:
            server.load("nodes", str(watchers))
            creates, _, _ = server.load("pods", str(pods), "--templates", "1", "--rate", str(rate))
            opening, _, _ = server.load("watch", str(watchers), "--pods", "1", *selector)
            before = server.deliveries()
            cpu, _, report = server.load("watch", str(watchers), "--pods", str(pods), "--rate", str(rate), *selector)
            bound = p99(before, server.deliveries())
            each = (cpu - creates - opening) / max(report["events"], 1) * 1e6
            print(
                f"{watchers} watchers{' of a node each' if selector else ''}, {rate} changes/s: {report['events']} delivered, "
                f"{report['events_missing']} missing, {report['watchers_cut']} dropped; {each:.1f} us CPU each "
                f"({cpu:.2f} s, creates {creates:.2f} s, opening {opening:.2f} s); p99 durable to socket <= {bound} ms"
            )


def churn(args):
    with Server(args, ALONE) as server:
        cpu, wall, report = server.load("churn", "--rate", "200", "--seconds", "60", "--pods-alive", "2000", "--leases", "1000")
        print(f"churn: {cpu:.2f} CPU s, {wall:.1f} s, start lag {report['start_lag']}")
        for name in ("creates", "deletes", "lease_updates"):
            print(f"  {name}: {json.dumps(report[name])}")


def sched(args):
    with Server(args, ["--nodes", "5000", "--process-nodes", "0"]) as server:
        time.sleep(SETTLE_SECONDS)
        for words in (["sched", "10000"], ["sched", "10000", "--rate", "1000"]):
            cpu, _, report = server.load(*words)
            print(
                f"{' '.join(words)}: {report['bound']} bound after {report['all_bound_seconds']:.1f} s "
                f"(creates {report['create_seconds']:.1f} s), {cpu:.1f} CPU s, answer to bound {report['answer_to_bound']}"
            )


PARTS = {"writes": writes, "watches": watches, "churn": churn, "sched": sched}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--knarr", default="target/release/knarr")
    parser.add_argument("--loadgen", required=True)
    parser.add_argument("--pods", type=int, default=20000)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    args = parser.parse_args()
    for name in args.only:
        PARTS[name](args)


if __name__ == "__main__":
    main()
