"""Koordinator's classes against any cluster whose scheduler acts on them: gangs, quotas, CPUs of one's own, GPUs by percent, real load.

Needs CONFORMANCE_DATA (the folder with koordinator/crds) and at least one simulated node (label knarr.dev/runtime=sim) with eight CPUs
or more. Installs the kinds itself; a scheduler may take two minutes to notice. KUBECTL names the client.
"""

import json
import os
import time

from _kit import DATA, Failed, contains, equal, eventually, get, kubectl, main, run

NS = "conformance-classes"
N = ("-n", NS)
CRDS = os.path.join(DATA, "koordinator", "crds")
KINDS = [
    "scheduling.sigs.k8s.io_elasticquotas",
    "scheduling.sigs.k8s.io_podgroups",
    "slo.koordinator.sh_nodemetrics",
    "topology.node.k8s.io_noderesourcetopologies",
    "scheduling.koordinator.sh_devices",
]
GROUP = "pod-group.scheduling.sigs.k8s.io"
QUOTA = "quota.scheduling.koordinator.sh/name"
NOTICED = 130


def pod(name, cpu="100m", labels=None, annotations=None, on=None, **requests):
    """Creates a pod for simulated nodes."""
    selector = {"knarr.dev/runtime": "sim"}
    if on:
        selector["kubernetes.io/hostname"] = on
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels or {}, "annotations": annotations or {}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "nodeSelector": selector,
            "containers": [
                {
                    "name": "main",
                    "image": "web:1",
                    "resources": {
                        "requests": {"cpu": cpu, **requests},
                        "limits": {"cpu": cpu, **requests},
                    },
                }
            ],
        },
    }
    apply(body)


def apply(body, *where):
    kubectl("apply", *(where or N), "-f", "-", stdin=json.dumps(body))


def node():
    """The first simulated node."""
    items = get("nodes", "-l", "knarr.dev/runtime=sim")["items"]
    return sorted(items, key=lambda n: n["metadata"]["name"])[0]


def name_of(thing):
    return thing["metadata"]["name"]


def bound(name):
    return get("pod", name, *N)["spec"].get("nodeName")


def held(name):
    """Why a pod has no node; nothing while nobody has said."""
    found = get("pod", name, *N)
    if found["spec"].get("nodeName"):
        return ""
    for c in found.get("status", {}).get("conditions", []):
        if c["type"] == "PodScheduled" and c["status"] == "False":
            return c["message"]
    return ""


def told(name, *words):
    """Waits until a pod is held with these words, in its condition and in an event."""

    def check():
        message = held(name)
        contains(message, *words)
        return message

    message = eventually(check)

    def event():
        items = get("events", *N, "--field-selector", f"involvedObject.name={name},reason=FailedScheduling")["items"]
        return any(words[0] in e["message"] for e in items)

    eventually(event)
    return message


def remove(*names):
    kubectl("delete", "pod", *N, *names, "--wait=true", "--force", "--grace-period=0")


def group(name, members):
    apply(
        {
            "apiVersion": "scheduling.sigs.k8s.io/v1alpha1",
            "kind": "PodGroup",
            "metadata": {"name": name},
            "spec": {"minMember": members},
        }
    )


def the_kinds_are_installed_and_noticed():
    for kind in KINDS:
        kubectl("apply", "-f", os.path.join(CRDS, kind + ".json"))
    for kind in KINDS:
        domain, plural = kind.split("_")
        kubectl("wait", "--for=condition=Established", f"crd/{plural}.{domain}", "--timeout=30s")
    group("probe", 2)
    quota("closed", "0")

    def noticed(label, words):
        """Whether a pod with the label is held with these words; each look takes a pod of its own."""

        def look():
            pod("probe", labels=label)
            message = eventually(lambda: held("probe") or bound("probe"), seconds=20)
            remove("probe")
            contains(message, words)
            return True

        eventually(look, seconds=NOTICED, every=2)

    noticed({GROUP: "probe"}, "child pod not collect enough")
    noticed({QUOTA: "closed"}, "Insufficient quotas")


def quota(name, cpu):
    apply(
        {
            "apiVersion": "scheduling.sigs.k8s.io/v1alpha1",
            "kind": "ElasticQuota",
            "metadata": {"name": name},
            "spec": {"min": {"cpu": cpu}, "max": {"cpu": cpu}},
        }
    )


def a_gang_waits_for_its_last_member_and_starts_whole():
    group("trio", 3)
    for name in ("trio-1", "trio-2"):
        pod(name, labels={GROUP: "trio"})
    told("trio-1", "gangGroup [conformance-classes/trio] basic check")
    equal([bound("trio-1"), bound("trio-2")], [None, None], "before the last member came")
    pod("trio-3", labels={GROUP: "trio"})
    eventually(lambda: all(bound(f"trio-{n}") for n in (1, 2, 3)))
    remove("trio-1", "trio-2", "trio-3")


def a_gang_that_does_not_fit_is_held_whole():
    group("wide", 2)
    pod("wide-1", labels={GROUP: "wide"})
    pod("wide-2", cpu="100000", labels={GROUP: "wide"})
    told("wide-2", "Insufficient cpu")
    told("wide-1", 'Gang "conformance-classes/wide" gets rejected due to member Pod "wide-2"')
    equal(bound("wide-1"), None, "a member that would fit")
    remove("wide-1", "wide-2")


def a_quota_is_not_exceeded_and_calls_who_waits():
    quota("team", "1")
    for n in (1, 2, 3):
        pod(f"team-{n}", cpu="500m", labels={QUOTA: "team"})
    eventually(lambda: sum(bool(bound(f"team-{n}")) for n in (1, 2, 3)) == 2)
    waits = next(n for n in (1, 2, 3) if not bound(f"team-{n}"))
    told(f"team-{waits}", "Insufficient quotas, quotaName: team", "exceedDimensions: [cpu]")
    runs = next(n for n in (1, 2, 3) if n != waits)
    remove(f"team-{runs}")
    eventually(lambda: bound(f"team-{waits}"))
    remove(*(f"team-{n}" for n in (1, 2, 3) if n != runs))


def a_pod_gets_cpus_of_its_own():
    there = node()
    count = min(int(there["status"]["allocatable"]["cpu"].removesuffix("m")), 8) // 2 * 2
    rows = [{"id": i, "core": i % (count // 2), "socket": 0, "node": 0} for i in range(count)]
    apply(
        {
            "apiVersion": "topology.node.k8s.io/v1alpha1",
            "kind": "NodeResourceTopology",
            "metadata": {
                "name": name_of(there),
                "annotations": {"node.koordinator.sh/cpu-topology": json.dumps({"detail": rows})},
            },
            "topologyPolicies": ["None"],
            "zones": [],
        },
        "-n",
        "default",
    )
    lsr = {"koordinator.sh/qosClass": "LSR", "koordinator.sh/priority-class": "koord-prod"}
    for name in ("own-1", "own-2"):
        pod(name, cpu="2", labels=lsr, on=name_of(there))
    eventually(lambda: bound("own-1") and bound("own-2"), seconds=NOTICED)
    key = "scheduling.koordinator.sh/resource-status"
    given = [json.loads(get("pod", n, *N)["metadata"]["annotations"][key])["cpuset"] for n in ("own-1", "own-2")]
    equal(len(set(given)), 2, f"CPUs of both, {given}")
    pod("own-3", cpu="1500m", labels=lsr, on=name_of(there))
    told("own-3", "the requested CPUs must be integer")
    remove("own-1", "own-2", "own-3")
    kubectl("delete", "noderesourcetopology", name_of(there))


def gpus_are_shared_by_percent():
    there = name_of(node())
    gpu = {"koordinator.sh/gpu-core": "200", "koordinator.sh/gpu-memory-ratio": "200"}
    status = json.dumps({"status": {"capacity": gpu, "allocatable": gpu}})
    kubectl("patch", "node", there, "--subresource=status", "--type=merge", "-p", status)
    one = {"koordinator.sh/gpu-core": "100", "koordinator.sh/gpu-memory-ratio": "100", "koordinator.sh/gpu-memory": "16Gi"}
    devices = [{"type": "gpu", "minor": m, "id": f"gpu-{m}", "health": True, "resources": one} for m in (0, 1)]
    apply(
        {
            "apiVersion": "scheduling.koordinator.sh/v1alpha1",
            "kind": "Device",
            "metadata": {"name": there},
            "spec": {"devices": devices},
        },
        "-n",
        "default",
    )

    def part(percent):
        return {"koordinator.sh/gpu-core": str(percent), "koordinator.sh/gpu-memory-ratio": str(percent)}

    for name in ("gpu-1", "gpu-2"):
        pod(name, on=there, **part(60))
        eventually(lambda: bound(name), seconds=NOTICED)
    key = "scheduling.koordinator.sh/device-allocated"
    given = [json.loads(get("pod", n, *N)["metadata"]["annotations"][key])["gpu"] for n in ("gpu-1", "gpu-2")]
    equal(sorted(g[0]["minor"] for g in given), [0, 1], "a device for each")
    pod("gpu-3", on=there, **part(50))
    told("gpu-3", "Insufficient gpu devices")
    remove("gpu-1", "gpu-2", "gpu-3")
    kubectl("delete", "device", there)
    gone = json.dumps({"status": {"capacity": dict.fromkeys(gpu), "allocatable": dict.fromkeys(gpu)}})
    kubectl("patch", "node", there, "--subresource=status", "--type=merge", "-p", gone)


def a_busy_node_takes_no_pods_until_it_is_measured_again():
    there = node()
    whole = there["status"]["allocatable"]["cpu"]

    def measure(cpu):
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        usage = {"updateTime": now, "nodeMetric": {"nodeUsage": {"resources": {"cpu": cpu, "memory": "1Gi"}}}}
        patch = json.dumps({"status": usage})
        kubectl("patch", "nodemetric", name_of(there), "--subresource=status", "--type=merge", "-p", patch)

    apply(
        {"apiVersion": "slo.koordinator.sh/v1alpha1", "kind": "NodeMetric", "metadata": {"name": name_of(there)}, "spec": {}},
        "-n",
        "default",
    )
    try:
        measure(whole)

        def noticed():
            run("delete", "pod", *N, "busy", "--wait=true", "--force", "--grace-period=0", "--ignore-not-found")
            pod("busy", on=name_of(there))
            message = eventually(lambda: held("busy") or bound("busy"), seconds=20)
            contains(message, "cpu usage exceed threshold")
            return True

        eventually(noticed, seconds=NOTICED, every=2)
        told("busy", "node(s) cpu usage exceed threshold")
        measure("100m")
        eventually(lambda: bound("busy"), seconds=30)
    finally:
        kubectl("delete", "nodemetric", name_of(there))
    remove("busy")


if __name__ == "__main__":
    if not os.path.isdir(CRDS):
        raise Failed(f"no folder {CRDS}: set CONFORMANCE_DATA")
    main(
        [
            the_kinds_are_installed_and_noticed,
            a_gang_waits_for_its_last_member_and_starts_whole,
            a_gang_that_does_not_fit_is_held_whole,
            a_quota_is_not_exceeded_and_calls_who_waits,
            a_pod_gets_cpus_of_its_own,
            gpus_are_shared_by_percent,
            a_busy_node_takes_no_pods_until_it_is_measured_again,
        ],
        namespace=NS,
    )
