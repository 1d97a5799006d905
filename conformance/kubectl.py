"""Stock kubectl against any cluster with workload controllers and ready nodes: every verb means what it means upstream."""

import json
import os
import signal
import subprocess
import tempfile
import time

from _kit import Failed, KUBECTL, contains, equal, eventually, get, kubectl, main, refused, run

NS = "conformance-kubectl"
N = ("-n", NS)

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: {app: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata:
      labels: {app: web}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: main
        image: registry.example/web:1
        ports: [{containerPort: 8080, name: http}]
"""

CONFIG = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, labels: {team: a}}
data: {color: blue, size: "1"}
"""


def apply(text, *args):
    return kubectl("apply", *N, *args, "-f", "-", stdin=text)


def settled():
    """Waits until no pod of the deployment is on its way out."""
    eventually(lambda: not any("deletionTimestamp" in p["metadata"] for p in get("pods", *N, "-l", "app=web")["items"]))


def version_has_client_and_server():
    found = json.loads(kubectl("version", "-o", "json"))
    contains(found["serverVersion"]["gitVersion"], "v1.")
    equal(found["serverVersion"]["major"], "1", "major")


def api_resources_lists_kinds_with_short_names():
    rows = {line.split()[0]: line for line in kubectl("api-resources", "--no-headers").splitlines()}
    contains(rows["pods"], "po", "v1", "true", "Pod")
    contains(rows["deployments"], "deploy", "apps/v1", "true", "Deployment")
    contains(rows["nodes"], "no", "v1", "false", "Node")
    contains(rows["customresourcedefinitions"], "crd,crds", "apiextensions.k8s.io/v1")
    names = kubectl("api-resources", "--namespaced=false", "-o", "name").split()
    if "namespaces" not in names or "pods" in names:
        raise Failed(f"cluster-wide resources: {names}")
    contains(kubectl("api-resources", "--categories=all", "-o", "name"), "pods", "services", "deployments.apps")
    contains(kubectl("api-versions"), "apps/v1", "v1", "batch/v1")


def explain_reads_the_schema():
    out = kubectl("explain", "deployment.spec.strategy.rollingUpdate")
    contains(out, "GROUP:", "apps", "KIND:", "Deployment", "maxSurge", "maxUnavailable")
    contains(kubectl("explain", "pods", "--recursive"), "containers", "livenessProbe", "tolerationSeconds")
    refused("explain", "pod.spec.nonsense", says='field "nonsense" does not exist')


def apply_creates_changes_and_leaves_alone():
    equal(apply(CONFIG).strip(), "configmap/settings created")
    equal(apply(CONFIG).strip(), "configmap/settings unchanged")
    equal(apply(CONFIG.replace("blue", "red")).strip(), "configmap/settings configured")
    found = get("cm", "settings", *N)
    equal(found["data"], {"color": "red", "size": "1"})
    contains(found["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"], "red")
    apply(CONFIG.replace(', size: "1"', ""))
    equal(get("cm", "settings", *N)["data"], {"color": "blue"}, "a field left out is removed")


def apply_validates_fields_and_names_them():
    bad = CONFIG.replace("\ndata:", "\ndta:")
    refused("apply", *N, "-f", "-", stdin=bad, says='unknown field "dta"')
    bad = DEPLOYMENT.replace("replicas: 3", "replicaz: 3")
    refused("apply", *N, "-f", "-", stdin=bad, says='unknown field "spec.replicaz"')
    refused("apply", *N, "-f", "-", stdin=DEPLOYMENT.replace("replicas: 3", "replicas: many"), says="replicas")
    bad = DEPLOYMENT.replace("labels: {app: web}\n    spec", "labels: {app: other}\n    spec")
    refused("apply", *N, "-f", "-", stdin=bad, says=["spec.template.metadata.labels", "is invalid"])
    refused("create", *N, "-f", "-", stdin=DEPLOYMENT.replace("name: web", "name: Web_1", 1), says="metadata.name")


def apply_dry_run_changes_nothing():
    out = apply(CONFIG.replace("blue", "green"), "--dry-run=server")
    equal(out.strip(), "configmap/settings configured (server dry run)")
    equal(get("cm", "settings", *N)["data"]["color"], "blue")


def diff_tells_what_would_change():
    equal(run("diff", *N, "-f", "-", stdin=CONFIG.replace(', size: "1"', "")).code, 0)
    r = run("diff", *N, "-f", "-", stdin=CONFIG.replace("blue", "green"))
    equal(r.code, 1, "exit code of diff")
    contains(r.out, "-  color: blue", "+  color: green")
    equal(get("cm", "settings", *N)["data"]["color"], "blue")


def server_side_apply_owns_conflicts_and_forces():
    text = CONFIG.replace("settings", "shared")
    out = apply(text, "--server-side", "--field-manager=one")
    equal(out.strip(), "configmap/shared serverside-applied")
    message = refused(
        "apply", *N, "--server-side", "--field-manager=two", "-f", "-", stdin=text.replace("blue", "red"),
        says=["conflict", '"one"', ".data.color"],
    )
    contains(message, "--force-conflicts")
    apply(text.replace("blue", "red"), "--server-side", "--field-manager=two", "--force-conflicts")
    managed = json.loads(kubectl("get", "cm", "shared", *N, "-o", "json", "--show-managed-fields"))["metadata"]["managedFields"]
    owners = {m["manager"]: m for m in managed}
    equal(owners["two"]["operation"], "Apply")
    if "f:color" in owners["one"]["fieldsV1"].get("f:data", {}):
        raise Failed("manager one still owns what manager two took")
    # Leaving a field out gives it up; it stays while somebody else owns it.
    apply(text.replace(", size: \"1\"", "").replace("blue", "red"), "--server-side", "--field-manager=two")
    equal(get("cm", "shared", *N)["data"], {"color": "red", "size": "1"})


def patches_of_all_forms():
    apply(DEPLOYMENT)
    kubectl("patch", "deploy", "web", *N, "-p", '{"spec":{"template":{"spec":{"containers":[{"name":"main","env":[{"name":"A","value":"1"}]}]}}}}')
    main_ = get("deploy", "web", *N)["spec"]["template"]["spec"]["containers"][0]
    equal((main_["image"], main_["env"]), ("registry.example/web:1", [{"name": "A", "value": "1"}]), "strategic merge")
    kubectl("patch", "deploy", "web", *N, "--type=json", "-p", '[{"op":"replace","path":"/spec/replicas","value":2}]')
    equal(get("deploy", "web", *N)["spec"]["replicas"], 2)
    kubectl("patch", "deploy", "web", *N, "--type=merge", "-p", '{"metadata":{"annotations":{"note":"x"}},"spec":{"replicas":3}}')
    found = get("deploy", "web", *N)
    equal((found["metadata"]["annotations"]["note"], found["spec"]["replicas"]), ("x", 3))
    refused("patch", "deploy", "web", *N, "--type=json", "-p", '[{"op":"test","path":"/spec/replicas","value":9}]', says="")
    refused("patch", "deploy", "web", *N, "-p", '{"spec":{"selector":{"matchLabels":{"app":"x"}}}}', says="field is immutable")


def labels_and_annotations():
    equal(kubectl("label", "cm", "settings", *N, "env=prod").strip(), "configmap/settings labeled")
    refused("label", "cm", "settings", *N, "env=test", says="already has a value")
    kubectl("label", "cm", "settings", *N, "env=test", "--overwrite")
    equal(kubectl("get", "cm", *N, "-l", "env=test", "-o", "name").strip(), "configmap/settings")
    equal(kubectl("get", "cm", *N, "-l", "env in (prod, dev)", "-o", "name").strip(), "")
    kubectl("label", "cm", "settings", *N, "env-")
    kubectl("annotate", "cm", "settings", *N, "note=hello")
    equal(get("cm", "settings", *N)["metadata"]["annotations"]["note"], "hello")
    refused("label", "cm", "settings", *N, "bad=a b", says="invalid")


def edit_saves_what_the_editor_wrote():
    with tempfile.NamedTemporaryFile("w", suffix=".sh", delete=False) as f:
        f.write("#!/bin/sh\nsed -i 's/color: blue/color: violet/' \"$1\"\n")
    os.chmod(f.name, 0o755)
    try:
        equal(kubectl("edit", "cm", "settings", *N, env={"EDITOR": f.name, "KUBE_EDITOR": f.name}).strip(), "configmap/settings edited")
    finally:
        os.unlink(f.name)
    equal(get("cm", "settings", *N)["data"]["color"], "violet")


def rollout_goes_through_and_status_says_so():
    out = kubectl("rollout", "status", "deploy/web", *N, "--timeout=90s", timeout=100)
    contains(out, 'deployment "web" successfully rolled out')
    row = kubectl("get", "deploy", "web", *N, "--no-headers").split()
    equal(row[:4], ["web", "3/3", "3", "3"])
    pods = [p for p in get("pods", *N, "-l", "app=web")["items"] if "deletionTimestamp" not in p["metadata"]]
    equal(len(pods), 3)
    for pod in pods:
        equal(pod["status"]["phase"], "Running")
        equal(pod["metadata"]["ownerReferences"][0]["kind"], "ReplicaSet")


def tables_have_upstreams_columns():
    settled()
    header = lambda *a: kubectl("get", *a).splitlines()[0].split()
    equal(header("pods", *N), ["NAME", "READY", "STATUS", "RESTARTS", "AGE"])
    equal(" ".join(header("pods", *N, "-o", "wide")), "NAME READY STATUS RESTARTS AGE IP NODE NOMINATED NODE READINESS GATES")
    equal(header("deploy", *N), ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"])
    equal(header("rs", *N), ["NAME", "DESIRED", "CURRENT", "READY", "AGE"])
    equal(header("nodes"), ["NAME", "STATUS", "ROLES", "AGE", "VERSION"])
    equal(header("cm", *N), ["NAME", "DATA", "AGE"])
    equal(header("ns"), ["NAME", "STATUS", "AGE"])
    equal(header("svc", "-A"), ["NAMESPACE", "NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"])
    equal(header("pods", *N, "-L", "app", "--show-labels")[-2:], ["APP", "LABELS"])


def outputs_of_get():
    settled()
    equal(kubectl("get", "deploy", "web", *N, "-o", "jsonpath={.spec.template.spec.containers[0].image}"), "registry.example/web:1")
    contains(kubectl("get", "deploy", "web", *N, "-o", "yaml"), "apiVersion: apps/v1", "kind: Deployment", "  name: web\n")
    equal(kubectl("get", "deploy", *N, "-o", "custom-columns=N:.metadata.name,R:.spec.replicas").split(), ["N", "R", "web", "3"])
    equal(kubectl("get", "deploy", *N, "-o", "go-template={{len .items}}"), "1")
    names = kubectl("get", "pods", *N, "--sort-by=.metadata.name", "-o", "name").split()
    equal(names, sorted(names))
    node = get("pods", *N, "-l", "app=web")["items"][0]["spec"]["nodeName"]
    for pod in get("pods", *N, "--field-selector", f"spec.nodeName={node}")["items"]:
        equal(pod["spec"]["nodeName"], node)
    refused("get", "pod", "absent", *N, says='Error from server (NotFound): pods "absent" not found')
    refused("get", "nonsense", says="the server doesn't have a resource type")
    contains(run("get", "pods", "-n", "conformance-nowhere").err, "No resources found in conformance-nowhere namespace.")
    whole, paged = (kubectl("get", "cm", "-n", "kube-system", *more, "-o", "name").split() for more in ([], ["--chunk-size=1"]))
    equal(paged, whole, "paged")


def raw_paths_answer():
    contains(kubectl("get", "--raw", "/readyz?verbose"), "check passed")
    equal(kubectl("get", "--raw", "/healthz"), "ok")
    equal(json.loads(kubectl("get", "--raw", "/api/v1/namespaces?limit=1"))["kind"], "NamespaceList")


def describe_tells_the_story():
    settled()
    out = kubectl("describe", "deploy", "web", *N)
    contains(out, "Replicas:", "3 desired | 3 updated | 3 total | 3 available | 0 unavailable", "RollingUpdateStrategy:", "NewReplicaSet:", "ScalingReplicaSet", "Scaled up replica set")
    pod = kubectl("get", "pods", *N, "-l", "app=web", "-o", "name").split()[0]
    out = kubectl("describe", pod, *N)
    contains(out, "Status:", "Running", "Controlled By:", "ReplicaSet/web-", "registry.example/web:1", "Scheduled", "Successfully assigned")
    contains(kubectl("describe", "node"), "Allocatable:", "Conditions:", "Ready")
    contains(kubectl("describe", "ns", NS), "Status:", "Active")


def watch_shows_changes_as_they_happen():
    watcher = subprocess.Popen([KUBECTL, "get", "cm", *N, "-w", "-o", "name"], stdout=subprocess.PIPE, text=True)
    try:
        time.sleep(1.0)
        kubectl("create", "cm", "seen", *N, "--from-literal=a=1")
        kubectl("delete", "cm", "seen", *N)
        time.sleep(1.0)
    finally:
        watcher.send_signal(signal.SIGINT)
    out = watcher.communicate(timeout=10)[0]
    contains(out, "configmap/settings", "configmap/seen")
    events = subprocess.Popen([KUBECTL, "get", "cm", *N, "--watch-only", "--output-watch-events"], stdout=subprocess.PIPE, text=True)
    try:
        time.sleep(1.0)
        kubectl("create", "cm", "seen2", *N, "--from-literal=a=1")
        kubectl("label", "cm", "seen2", *N, "x=y")
        kubectl("delete", "cm", "seen2", *N)
        time.sleep(1.0)
    finally:
        events.send_signal(signal.SIGINT)
    kinds = [l.split()[0] for l in events.communicate(timeout=10)[0].splitlines() if "seen2" in l]
    equal(kinds, ["ADDED", "MODIFIED", "DELETED"])


def scale_by_subresource():
    settled()
    equal(kubectl("scale", "deploy/web", *N, "--replicas=5").strip(), "deployment.apps/web scaled")
    refused("scale", "deploy/web", *N, "--replicas=1", "--current-replicas=9", says="Expected replicas to be 9")
    kubectl("wait", "deploy/web", *N, "--for=jsonpath={.status.readyReplicas}=5", "--timeout=60s", timeout=70)
    kubectl("scale", "deploy/web", *N, "--replicas=3")
    eventually(lambda: len(get("pods", *N, "-l", "app=web")["items"]) == 3)


def rollout_update_undo_history_restart():
    first = get("rs", *N, "-l", "app=web")["items"]
    kubectl("set", "image", "deploy/web", *N, "main=registry.example/web:2")
    kubectl("rollout", "status", "deploy/web", *N, "--timeout=90s", timeout=100)
    sets = get("rs", *N, "-l", "app=web")["items"]
    equal(len(sets), len(first) + 1)
    equal(sorted(s["spec"]["replicas"] for s in sets)[-1], 3)
    equal(sum(s["spec"]["replicas"] for s in sets), 3, "old replica sets are empty")
    history = kubectl("rollout", "history", "deploy/web", *N)
    revisions = [l.split()[0] for l in history.splitlines() if l.split() and l.split()[0].isdigit()]
    newest = int(revisions[-1])
    contains(kubectl("rollout", "history", "deploy/web", *N, f"--revision={newest}"), "registry.example/web:2")
    equal(kubectl("rollout", "undo", "deploy/web", *N).strip(), "deployment.apps/web rolled back")
    kubectl("rollout", "status", "deploy/web", *N, "--timeout=90s", timeout=100)
    found = get("deploy", "web", *N)
    equal(found["spec"]["template"]["spec"]["containers"][0]["image"], "registry.example/web:1")
    equal(found["metadata"]["annotations"]["deployment.kubernetes.io/revision"], str(newest + 1))
    before = {p["metadata"]["uid"] for p in get("pods", *N, "-l", "app=web")["items"]}
    equal(kubectl("rollout", "restart", "deploy/web", *N).strip(), "deployment.apps/web restarted")
    kubectl("rollout", "status", "deploy/web", *N, "--timeout=90s", timeout=100)
    live = {p["metadata"]["uid"] for p in get("pods", *N, "-l", "app=web")["items"] if "deletionTimestamp" not in p["metadata"]}
    equal(before & live, set(), "pods that survived a restart")


def rollout_pause_holds_changes():
    kubectl("rollout", "pause", "deploy/web", *N)
    count = len(get("rs", *N, "-l", "app=web")["items"])
    kubectl("set", "image", "deploy/web", *N, "main=registry.example/web:3")
    time.sleep(1.5)
    equal(len(get("rs", *N, "-l", "app=web")["items"]), count)
    kubectl("rollout", "resume", "deploy/web", *N)
    kubectl("rollout", "status", "deploy/web", *N, "--timeout=90s", timeout=100)
    pods = [p for p in get("pods", *N, "-l", "app=web")["items"] if "deletionTimestamp" not in p["metadata"]]
    equal({p["spec"]["containers"][0]["image"] for p in pods}, {"registry.example/web:3"})


def wait_waits_for_conditions_and_deletion():
    settled()
    kubectl("wait", "--for=condition=Available", "deploy/web", *N, "--timeout=30s", timeout=40)
    kubectl("wait", "--for=condition=Ready", "pod", "-l", "app=web", *N, "--timeout=60s", timeout=70)
    refused("wait", "--for=condition=Nonsense", "deploy/web", *N, "--timeout=1s", says="timed out waiting")
    pod = kubectl("get", "pods", *N, "-l", "app=web", "-o", "name").split()[0]
    kubectl("delete", pod, *N, "--wait=false")
    kubectl("wait", "--for=delete", pod, *N, "--timeout=60s", timeout=70)


def logs_come_from_the_node():
    settled()
    pod = eventually(lambda: kubectl("get", "pods", *N, "-l", "app=web", "--field-selector=status.phase=Running", "-o", "name").split())[0]
    r = run("logs", pod, *N, "--tail=5")
    node = get("pod", pod.split("/")[1], *N)["spec"]["nodeName"]
    simulated = "knarr.dev/sim-owner" in get("node", node)["metadata"].get("annotations", {})
    if simulated and "knarr" not in json.loads(kubectl("get", "--raw", "/version"))["gitVersion"]:
        # A foreign server cannot know that nobody listens there.
        contains(r.err, node)
    else:
        equal(r.code, 0, f"exit code of logs: {r}")
    refused("logs", pod, *N, "-c", "absent", says="container absent is not valid for pod")


def services_get_addresses_and_endpoints():
    settled()
    equal(kubectl("expose", "deploy/web", *N, "--port=80", "--target-port=http").strip(), "service/web exposed")
    service = get("svc", "web", *N)
    if service["spec"]["clusterIP"] in ("", "None"):
        raise Failed("no cluster IP")
    ready = lambda: [e for s in get("endpointslices", *N, "-l", "kubernetes.io/service-name=web")["items"] for e in s.get("endpoints") or [] if e["conditions"]["ready"]]
    eventually(lambda: len(ready()) == 3)
    equal({e["targetRef"]["kind"] for e in ready()}, {"Pod"})


def auth_can_i_asks_the_authorizer():
    equal(kubectl("auth", "can-i", "create", "deployments", *N).strip(), "yes")
    equal(kubectl("auth", "can-i", "*", "*").strip(), "yes")
    contains(kubectl("auth", "can-i", "--list", *N), "*.*")
    whoami = json.loads(kubectl("auth", "whoami", "-o", "json"))
    if "system:authenticated" not in whoami["status"]["userInfo"]["groups"]:
        raise Failed(str(whoami))


def create_and_delete_generators():
    kubectl("create", "secret", "generic", "s", *N, "--from-literal=k=v")
    equal(get("secret", "s", *N)["data"], {"k": "dg=="})
    contains(kubectl("delete", "secret", "s", *N), 'secret "s" deleted')
    refused("delete", "secret", "s", *N, says="not found")
    equal(kubectl("delete", "secret", "s", *N, "--ignore-not-found"), "")
    refused("create", "-f", "-", *N, stdin=CONFIG, says="already exists")


def replace_needs_the_version_it_saw():
    seen = get("cm", "settings", *N)
    kubectl("annotate", "cm", "settings", *N, "touched=1", "--overwrite")
    refused("replace", *N, "-f", "-", stdin=json.dumps(seen), says="the object has been modified")
    seen["metadata"].pop("resourceVersion")
    kubectl("replace", *N, "-f", "-", stdin=json.dumps(seen))


def finalizers_hold_a_deletion():
    kubectl("create", "cm", "held", *N)
    kubectl("patch", "cm", "held", *N, "--type=merge", "-p", '{"metadata":{"finalizers":["example.com/hold"]}}')
    kubectl("delete", "cm", "held", *N, "--wait=false")
    found = get("cm", "held", *N)["metadata"]
    if "deletionTimestamp" not in found:
        raise Failed("not terminating")
    kubectl("patch", "cm", "held", *N, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    refused("get", "cm", "held", *N, says="NotFound")


def cascades_follow_owners():
    apply(DEPLOYMENT.replace("name: web\n", "name: brief\n", 1).replace("app: web", "app: brief").replace("replicas: 3", "replicas: 2"))
    kubectl("rollout", "status", "deploy/brief", *N, "--timeout=60s", timeout=70)
    kubectl("delete", "deploy", "brief", *N, "--cascade=orphan")
    time.sleep(1.0)
    equal(len(get("rs", *N, "-l", "app=brief")["items"]), 1, "orphaned replica set")
    equal("ownerReferences" in get("rs", *N, "-l", "app=brief")["items"][0]["metadata"], False)
    kubectl("delete", "rs", *N, "-l", "app=brief", "--cascade=foreground", timeout=90)
    equal(get("pods", *N, "-l", "app=brief")["items"], [], "foreground: pods go first")


def custom_kinds_work_like_built_in_ones():
    crd = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: ships.conformance.example}
spec:
  group: conformance.example
  names: {kind: Ship, plural: ships, singular: ship, shortNames: [sh]}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}, scale: {specReplicasPath: .spec.crew, statusReplicasPath: .status.crew}}
    additionalPrinterColumns:
    - {name: Crew, type: integer, jsonPath: .spec.crew}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [sail]
            properties:
              crew: {type: integer, minimum: 1, default: 3}
              sail: {type: string, enum: [red, white]}
          status:
            type: object
            properties: {crew: {type: integer}}
"""
    kubectl("apply", "-f", "-", stdin=crd)
    try:
        kubectl("wait", "--for=condition=Established", "crd/ships.conformance.example", "--timeout=20s", timeout=30)
        ship = "apiVersion: conformance.example/v1\nkind: Ship\nmetadata: {name: knarr}\nspec: {sail: red}\n"
        eventually(lambda: run("apply", *N, "-f", "-", stdin=ship).code == 0, seconds=20)
        equal(get("ship", "knarr", *N)["spec"], {"sail": "red", "crew": 3}, "defaulted")
        equal(kubectl("get", "sh", *N).splitlines()[0].split(), ["NAME", "CREW"])
        refused("apply", *N, "-f", "-", stdin=ship.replace("red", "green"), says=["spec.sail", "Unsupported value"])
        refused("apply", *N, "-f", "-", stdin=ship.replace("{sail: red}", "{crew: 1}").replace("knarr", "other"), says=["spec.sail", "Required value"])
        refused("apply", *N, "-f", "-", stdin=ship.replace("sail: red", "sail: red, mast: 1"), says='unknown field "spec.mast"')
        kubectl("scale", "ship/knarr", *N, "--replicas=7")
        equal(get("ship", "knarr", *N)["spec"]["crew"], 7)
        generation = get("ship", "knarr", *N)["metadata"]["generation"]
        kubectl("patch", "ship", "knarr", *N, "--subresource=status", "--type=merge", "-p", '{"status":{"crew":7},"spec":{"crew":1}}')
        found = get("ship", "knarr", *N)
        equal((found["spec"]["crew"], found["status"]["crew"], found["metadata"]["generation"]), (7, 7, generation))
        eventually(lambda: "crew" in run("explain", "ship.spec").out, seconds=20)
    finally:
        kubectl("delete", "crd", "ships.conformance.example", timeout=60)
    # A client with a fresh memory says that there is no such type, one that remembers it that the server has not found it.
    contains(run("get", "ships", *N).err, "server", "resource")
    equal(run("get", "ships", *N).code, 1, "exit code for a kind that is gone")


def namespaces_take_everything_with_them():
    name = "conformance-brief"
    kubectl("create", "namespace", name)
    kubectl("create", "cm", "a", "-n", name)
    kubectl("create", "deploy", "d", "-n", name, "--image=registry.example/web:1", "--replicas=2")
    kubectl("rollout", "status", "deploy/d", "-n", name, "--timeout=60s", timeout=70)
    kubectl("delete", "namespace", name, "--timeout=90s", timeout=100)
    refused("get", "namespace", name, says="NotFound")
    refused("create", "cm", "b", "-n", name, says="not found")


CASES = [
    version_has_client_and_server, api_resources_lists_kinds_with_short_names, explain_reads_the_schema,
    apply_creates_changes_and_leaves_alone, apply_validates_fields_and_names_them, apply_dry_run_changes_nothing,
    diff_tells_what_would_change, server_side_apply_owns_conflicts_and_forces, patches_of_all_forms,
    labels_and_annotations, rollout_goes_through_and_status_says_so, tables_have_upstreams_columns, outputs_of_get,
    raw_paths_answer, describe_tells_the_story, watch_shows_changes_as_they_happen, scale_by_subresource,
    rollout_update_undo_history_restart, rollout_pause_holds_changes, wait_waits_for_conditions_and_deletion,
    logs_come_from_the_node, services_get_addresses_and_endpoints, auth_can_i_asks_the_authorizer,
    create_and_delete_generators, replace_needs_the_version_it_saw, finalizers_hold_a_deletion,
    edit_saves_what_the_editor_wrote, cascades_follow_owners, custom_kinds_work_like_built_in_ones,
    namespaces_take_everything_with_them,
]

if __name__ == "__main__":
    main(CASES, NS)
