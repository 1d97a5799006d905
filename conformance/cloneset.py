"""OpenKruise's CloneSet against any cluster that serves it: the original's sample unchanged, and releases judged on a watch.

Needs CONFORMANCE_DATA (the folder with openkruise/samples) and at least two simulated nodes (label knarr.dev/runtime=sim):
one of them is made unable to pull images. KUBECTL names the client.
"""

import json
import os
import time

from _kit import DATA, Failed, Watch, contains, equal, eventually, get, kubectl, main, refused, run

NS = "conformance-cloneset"
N = ("-n", NS)
SAMPLE = os.path.join(DATA, "openkruise", "samples", "apps_v1alpha1_cloneset.yaml")
GATE = "InPlaceUpdateReady"
STATE = "lifecycle.apps.kruise.io/state"
REVISION = "controller-revision-hash"
FAIL_PULL = "knarr.dev/sim-fail-pull"


def web(replicas, rolling, image="web:1", **spec):
    """A v1beta1 set named web with two containers."""
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "nodeSelector": {"knarr.dev/runtime": "sim"},
            "volumes": [{"name": "scratch", "emptyDir": {}}],
            "containers": [
                {"name": "main", "image": image, "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}]},
                {"name": "side", "image": "side:1"},
            ],
        },
    }
    body = {
        "apiVersion": "apps.kruise.io/v1beta1",
        "kind": "CloneSet",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": template,
            "updateStrategy": {"rollingUpdate": dict({"podUpdatePolicy": "InPlaceIfPossible"}, **rolling)},
            **spec,
        },
    }
    return json.dumps(body)


def status(name):
    return get("clonesets.apps.kruise.io", name, *N).get("status", {})


def pods(label):
    items = get("pods", *N, "-l", label)["items"]
    return {p["metadata"]["name"]: p for p in items if "deletionTimestamp" not in p["metadata"]}


def condition(thing, kind):
    found = [c for c in thing.get("status", {}).get("conditions", []) if c["type"] == kind]
    return found[0] if found else {"status": "-"}


def is_ready(pod):
    return condition(pod, "Ready")["status"] == "True"


def containers(pod):
    return {c["name"]: c for c in pod["status"].get("containerStatuses", [])}


def settled(name, replicas, updated=None, seconds=90):
    """Waits until the set has seen its newest spec and all its pods are updated (or as many as said) and available."""
    wanted = replicas if updated is None else updated

    def check():
        found = get("clonesets.apps.kruise.io", name, *N)
        s = found.get("status", {})
        seen = {k: s.get(k) for k in ("replicas", "availableReplicas", "updatedReplicas", "updatedReadyReplicas")}
        if s.get("observedGeneration") != found["metadata"]["generation"]:
            raise Failed(f"not seen yet: {seen}")
        if list(seen.values()) != [replicas, replicas, wanted, wanted]:
            raise Failed(f"{seen}")
        return s

    return eventually(check, seconds=seconds)


def image(name, container, to):
    """Changes one image by strategic merge where the server allows it, otherwise by a JSON patch (custom resources)."""
    spec = get("clonesets.apps.kruise.io", name, *N)["spec"]["template"]["spec"]["containers"]
    at = [c["name"] for c in spec].index(container)
    patch = [{"op": "replace", "path": f"/spec/template/spec/containers/{at}/image", "value": to}]
    kubectl("patch", "clonesets.apps.kruise.io", name, *N, "--type=json", "-p", json.dumps(patch))


def merge(name, spec):
    kubectl("patch", "clonesets.apps.kruise.io", name, *N, "--type=merge", "-p", json.dumps({"spec": spec}))


def replay(events, each):
    """Calls `each` with the state of all pods after every event."""
    world = {}
    for kind, pod in events:
        name = pod["metadata"]["name"]
        if kind == "DELETED":
            world.pop(name, None)
        else:
            world[name] = pod
        each(world, pod)


def judge_in_place(events, container, old_image, new_image):
    """The order of steps of every pod: gate False, new image, new container, gate True, never ready in between."""
    phases = {}

    def each(world, pod):
        name, now = pod["metadata"]["name"], containers(pod)
        gate = condition(pod, GATE)["status"]
        wants = {c["name"]: c["image"] for c in pod["spec"]["containers"]}[container]
        runs = now.get(container, {}).get("containerID", "")
        first = phases.setdefault(name, {"id": runs, "steps": []})
        steps = first["steps"]
        fresh = runs not in ("", first["id"]) and "running" in now[container].get("state", {})
        for step, true in (
            ("gate False", gate == "False"),
            ("new image", wants == new_image),
            ("new container", wants == new_image and fresh),
            ("gate True", "gate False" in steps and gate == "True"),
            ("ready", "gate True" in steps and is_ready(pod)),
        ):
            if true and step not in steps:
                steps.append(step)
        if is_ready(pod) and wants == new_image and not fresh:
            raise Failed(f"{name} is ready although its new container does not run yet")
        if is_ready(pod) and gate != "True":
            raise Failed(f"{name} is ready although its gate is {gate}")

    replay(events, each)
    wanted = ["gate False", "new image", "new container", "gate True", "ready"]
    for name, phase in phases.items():
        equal(phase["steps"], wanted, f"steps of {name}")
    return phases


def most_unready(events, replicas):
    """The greatest number of pods missing to be ready at any event once all were there."""
    most = {"n": 0, "started": False}

    def each(world, _):
        ready = sum(is_ready(p) for p in world.values())
        most["started"] |= ready >= replicas
        if most["started"]:
            most["n"] = max(most["n"], replicas - ready)

    replay(events, each)
    if not most["started"]:
        raise Failed("the watch never showed all pods ready")
    return most["n"]


def untouched(before, after, changed):
    """Same pods, addresses and volumes; a new instance of the changed container only, restarted once."""
    equal(sorted(after), sorted(before), "names of pods")
    for name, old in before.items():
        new = after[name]
        for what, path in (("uid", ("metadata", "uid")), ("podIP", ("status", "podIP")), ("volumes", ("spec", "volumes"))):
            equal(new[path[0]].get(path[1]), old[path[0]].get(path[1]), f"{what} of {name}")
        for container, was in containers(old).items():
            now = containers(new)[container]
            if container == changed:
                if now["containerID"] == was["containerID"]:
                    raise Failed(f"{container} of {name} still is {now['containerID']}")
                equal(now["restartCount"], was["restartCount"] + 1, f"restarts of {container} of {name}")
            else:
                equal((now["containerID"], now["restartCount"]), (was["containerID"], was["restartCount"]), f"{container} of {name}")


# The original's sample, unchanged.


def the_sample_is_accepted_unchanged():
    if not os.path.exists(SAMPLE):
        raise Failed(f"CONFORMANCE_DATA does not lead to {SAMPLE}")
    equal(kubectl("apply", *N, "-f", SAMPLE).strip(), "cloneset.apps.kruise.io/sample created")
    settled("sample", 5)
    equal(kubectl("apply", *N, "-f", SAMPLE).strip(), "cloneset.apps.kruise.io/sample unchanged")


def its_pods_are_as_openkruise_makes_them():
    found = pods("app=sample")
    equal(len(found), 5, "pods")
    update = status("sample")["updateRevision"]
    for name, pod in found.items():
        labels, meta = pod["metadata"]["labels"], pod["metadata"]
        equal(name, "sample-" + labels["apps.kruise.io/cloneset-instance-id"], "name")
        equal(len(labels["apps.kruise.io/cloneset-instance-id"]), 5, "length of the id")
        equal(labels[REVISION], update, f"{REVISION} of {name}")
        equal(labels["pod-template-hash"], update.rsplit("-", 1)[1], f"pod-template-hash of {name}")
        equal(labels[STATE], "Normal", f"state of {name}")
        owner = meta["ownerReferences"][0]
        equal((owner["kind"], owner["name"], owner["controller"]), ("CloneSet", "sample", True), f"owner of {name}")
        equal(owner["apiVersion"].split("/")[0], "apps.kruise.io", f"owner of {name}")
        contains(json.dumps(pod["spec"]["readinessGates"]), GATE)
        equal(condition(pod, GATE)["status"], "True", f"gate of {name}")


def its_status_says_what_openkruise_says():
    found = status("sample")
    revision = found["updateRevision"]
    wanted = {
        "replicas": 5, "readyReplicas": 5, "availableReplicas": 5, "updatedReplicas": 5, "updatedReadyReplicas": 5,
        "updatedAvailableReplicas": 5, "expectedUpdatedReplicas": 5, "currentRevision": revision, "labelSelector": "app=sample",
    }
    equal({k: found.get(k) for k in wanted}, wanted, "status")
    history = get("controllerrevisions", *N)["items"]
    owned = [r for r in history if r["metadata"]["ownerReferences"][0]["name"] == "sample"]
    equal([(r["metadata"]["name"], r["revision"]) for r in owned], [(revision, 1)], "history")
    equal(owned[0]["data"]["spec"]["template"]["$patch"], "replace", "data of the revision")


def columns_are_openkruises():
    head, row = [line.split() for line in kubectl("get", "clone", "sample", *N).splitlines()]
    equal(head, "NAME DESIRED UPDATED UPDATED_READY UPDATED_AVAILABLE READY TOTAL AGE".split(), "columns")
    equal(row[:7], ["sample"] + ["5"] * 6, "row")
    head, row = [line.split() for line in kubectl("get", "clonesets.apps.kruise.io", "sample", *N, "-o", "wide").splitlines()]
    equal(head[8:], ["CONTAINERS", "IMAGES", "SELECTOR"], "wide columns")
    equal(row[8:], ["main", "nginx:alpine", "app=sample"], "wide row")


def both_versions_are_served():
    alpha = get("clonesets.v1alpha1.apps.kruise.io", "sample", *N)
    equal(alpha["apiVersion"], "apps.kruise.io/v1alpha1")
    strategy = alpha["spec"]["updateStrategy"]
    equal((strategy["type"], strategy["maxUnavailable"]), ("InPlaceIfPossible", 2), "v1alpha1 strategy")
    beta = get("clonesets.v1beta1.apps.kruise.io", "sample", *N)
    strategy = beta["spec"]["updateStrategy"]
    equal(strategy["type"], "RollingUpdate", "v1beta1 type")
    rolling = strategy["rollingUpdate"]
    equal((rolling["podUpdatePolicy"], rolling["maxUnavailable"]), ("InPlaceIfPossible", 2), "v1beta1 strategy")
    equal(beta["spec"]["scaleStrategy"]["enablePVCReuse"], True, "v1alpha1 reuses claims unless it says otherwise")
    equal(alpha["metadata"]["uid"], beta["metadata"]["uid"], "uid")


def an_image_change_updates_the_same_pods():
    before = pods("app=sample")
    watch = Watch(*N, "-l", "app=sample")
    watch.seen(5)
    image("sample", "main", "nginx:mainline")
    settled("sample", 5)
    untouched(before, pods("app=sample"), "main")
    events = watch.stop()
    judge_in_place(events, "main", "nginx:alpine", "nginx:mainline")
    most = most_unready(events, 5)
    if most > 2:
        raise Failed(f"{most} of 5 pods were unready although maxUnavailable is 2")
    for name, pod in pods("app=sample").items():
        record = json.loads(pod["metadata"]["annotations"]["apps.kruise.io/inplace-update-state"])
        equal(record["revision"], pod["metadata"]["labels"][REVISION], f"record of {name}")
        contains(json.dumps(record), '"lastContainerStatuses"', '"imageID"', '"updateTimestamp"', '"containerBatchesRecord"')


def going_back_reuses_the_revision():
    old = status("sample")["updateRevision"]
    image("sample", "main", "nginx:alpine")
    found = settled("sample", 5)
    revisions = {r["metadata"]["name"]: r["revision"] for r in get("controllerrevisions", *N, "-l", "app=sample")["items"]}
    equal(len(revisions), 2, "revisions")
    equal((revisions[found["updateRevision"]], revisions[old]), (3, 2), "numbers of the revisions")


def scale_and_back():
    kubectl("scale", "clonesets.apps.kruise.io", "sample", *N, "--replicas=7")
    settled("sample", 7)
    kubectl("scale", "clonesets.apps.kruise.io", "sample", *N, "--replicas=5")
    settled("sample", 5)
    eventually(lambda: len(pods("app=sample")) == 5)


def events_tell_in_openkruises_words():
    def check():
        found = get("events", *N, "--field-selector", "involvedObject.name=sample")["items"]
        reasons = {e["reason"] for e in found}
        missing = {"SuccessfulCreate", "SuccessfulDelete", "SuccessfulUpdatePodInPlace"} - reasons
        if missing:
            raise Failed(f"no event {sorted(missing)} among {sorted(reasons)}")
        return True

    eventually(check, seconds=20)
    contains(kubectl("describe", "clonesets.apps.kruise.io", "sample", *N), "SuccessfulUpdatePodInPlace", "in-place")


def pods_named_for_deletion_go_and_their_names_too():
    name = sorted(pods("app=sample"))[0]
    merge("sample", {"scaleStrategy": {"podsToDelete": [name]}})

    def check():
        left = get("clonesets.apps.kruise.io", "sample", *N)["spec"]["scaleStrategy"].get("podsToDelete", [])
        if left or name in pods("app=sample"):
            raise Failed(f"podsToDelete {left}")
        return True

    eventually(check)
    settled("sample", 5)


def scaffolds_are_refused_with_their_field():
    text = json.dumps({"apiVersion": "apps.kruise.io/v1alpha1", "kind": "CloneSet", "metadata": {"name": "x"}, "spec": {"foo": "bar"}})
    refused("apply", *N, "-f", "-", stdin=text, says="foo")
    refused("apply", *N, "--validate=false", "-f", "-", stdin=text, says=["spec.selector", "spec.template"])


def a_wrong_budget_is_named():
    """Refused where admission knows the kind; elsewhere a condition names it and nothing happens."""
    text = web(1, {"maxUnavailable": "5"}).replace('"web"', '"wrong"')
    done = run("apply", *N, "-f", "-", stdin=text)
    if done.code != 0:
        return contains(done.err, "maxUnavailable")

    def check():
        told = json.dumps(status("wrong").get("conditions", []))
        contains(told, "maxUnavailable")
        return True

    eventually(check)
    equal(pods("app=wrong"), {}, "pods of a wrong set")
    kubectl("delete", "clonesets.apps.kruise.io", "wrong", *N)


# Releases, judged on a watch.


def twenty_percent_is_never_exceeded():
    kubectl("apply", *N, "-f", "-", stdin=web(20, {"partition": 0, "maxUnavailable": "20%"}))
    settled("web", 20)
    before = pods("app=web")
    watch = Watch(*N, "-l", "app=web")
    watch.seen(20)
    image("web", "main", "web:2")
    settled("web", 20, seconds=180)
    events = watch.stop()
    untouched(before, pods("app=web"), "main")
    judge_in_place(events, "main", "web:1", "web:2")
    most = most_unready(events, 20)
    if most > 4:
        raise Failed(f"{most} of 20 pods were unready at once, 20% are 4")
    if most < 2:
        raise Failed(f"only {most} of 20 pods was unready at once: the budget of 4 is not used")


def partition_releases_in_steps():
    merge("web", {"updateStrategy": {"rollingUpdate": {"partition": "90%"}}})
    image("web", "main", "web:3")
    found = settled("web", 20, updated=2)
    equal(found["expectedUpdatedReplicas"], 2, "expectedUpdatedReplicas")
    time.sleep(2)
    equal(status("web")["updatedReplicas"], 2, "pods updated at partition 90%")
    merge("web", {"updateStrategy": {"rollingUpdate": {"partition": 15}}})
    settled("web", 20, updated=5)
    merge("web", {"updateStrategy": {"rollingUpdate": {"paused": True, "partition": 0}}})
    time.sleep(2)
    equal(status("web")["updatedReplicas"], 5, "pods updated while paused")
    merge("web", {"updateStrategy": {"rollingUpdate": {"paused": False}}})
    settled("web", 20, seconds=180)


def a_change_beyond_images_makes_new_pods():
    before = pods("app=web")
    patch = [{"op": "add", "path": "/spec/template/spec/containers/0/env", "value": [{"name": "A", "value": "b"}]}]
    kubectl("patch", "clonesets.apps.kruise.io", "web", *N, "--type=json", "-p", json.dumps(patch))
    watch = Watch(*N, "-l", "app=web")
    settled("web", 20, seconds=240)
    most = most_unready(watch.stop(), 20)
    if most > 4:
        raise Failed(f"{most} of 20 pods were unready at once, 20% are 4")
    left = set(before) & set(pods("app=web"))
    equal(left, set(), "pods that were not replaced")


def one_stuck_pod_does_not_stop_the_rest_and_is_named():
    nodes = [n["metadata"]["name"] for n in get("nodes", "-l", "knarr.dev/runtime=sim")["items"]]
    if len(nodes) < 2:
        raise Failed(f"needs two nodes with the label knarr.dev/runtime=sim, found {nodes}")
    bad, others = nodes[0], nodes[1:]
    try:
        stuck = put_one_pod_on(bad, others)
        kubectl("annotate", "node", bad, f"{FAIL_PULL}=*", "--overwrite")
        watch = Watch(*N, "-l", "app=web")
        watch.seen(20)
        image("web", "main", "web:4")

        def rest_is_done():
            found = status("web")
            seen = (found["updatedReplicas"], found["updatedReadyReplicas"])
            if seen != (20, 19):
                raise Failed(f"updated, updated and ready: {seen}")
            told = json.dumps(found.get("conditions", []))
            contains(told, stuck, bad, "web:4")
            return True

        eventually(rest_is_done, seconds=180)
        most = most_unready(watch.stop(), 20)
        if most > 4:
            raise Failed(f"{most} of 20 pods were unready at once, 20% are 4")
    finally:
        run("annotate", "node", bad, f"{FAIL_PULL}-")
        for node in nodes:
            run("uncordon", node)
    settled("web", 20, seconds=420)
    found = [c for c in status("web").get("conditions", []) if c["type"] == "PodsStuck"]
    equal(found, [], "stuck pods after the node is well again")


def put_one_pod_on(bad, others):
    """Moves things so that exactly one pod of the set is on the node; gives its name."""
    kubectl("cordon", bad)
    on_bad = [n for n, p in pods("app=web").items() if p["spec"].get("nodeName") == bad]
    kubectl("delete", "clonesets.apps.kruise.io", "web", *N, "--wait=true") if on_bad else None
    if on_bad:
        eventually(lambda: not pods("app=web"))
    kubectl("apply", *N, "-f", "-", stdin=web(20, {"partition": 0, "maxUnavailable": "20%"}, image="web:3"))
    settled("web", 20, seconds=180)
    kubectl("uncordon", bad)
    for node in others:
        kubectl("cordon", node)
    kubectl("delete", "pod", sorted(pods("app=web"))[0], *N)
    settled("web", 20, seconds=120)
    found = [n for n, p in pods("app=web").items() if p["spec"].get("nodeName") == bad]
    equal(len(found), 1, f"pods on {bad}")
    return found[0]


def deleting_the_set_deletes_its_pods():
    kubectl("delete", "clonesets.apps.kruise.io", "sample", "web", *N, "--ignore-not-found")
    eventually(lambda: not get("pods", *N)["items"], seconds=60)
    eventually(lambda: not get("controllerrevisions", *N)["items"], seconds=30)


CASES = [
    the_sample_is_accepted_unchanged,
    its_pods_are_as_openkruise_makes_them,
    its_status_says_what_openkruise_says,
    columns_are_openkruises,
    both_versions_are_served,
    an_image_change_updates_the_same_pods,
    going_back_reuses_the_revision,
    scale_and_back,
    events_tell_in_openkruises_words,
    pods_named_for_deletion_go_and_their_names_too,
    scaffolds_are_refused_with_their_field,
    a_wrong_budget_is_named,
    twenty_percent_is_never_exceeded,
    partition_releases_in_steps,
    a_change_beyond_images_makes_new_pods,
    one_stuck_pod_does_not_stop_the_rest_and_is_named,
    deleting_the_set_deletes_its_pods,
]

if __name__ == "__main__":
    main(CASES, namespace=NS)
