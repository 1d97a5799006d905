"""helm, built from its module, with a chart of one of each thing, against any cluster with workload controllers and simulated nodes."""

import json
import os
import subprocess
import tempfile

import _build
from _kit import Failed, Run, contains, equal, eventually, get, kubectl, main, refused, run

NS = "conformance-helm"
N = ("-n", NS)
CHART = os.path.join(_build.HERE, "chart")
HELM = os.environ.get("HELM") or _build.helm()
HOME = tempfile.TemporaryDirectory(prefix="conformance-helm-")


def attempt(*args, timeout=180):
    """Runs helm with folders of its own."""
    env = dict(os.environ, **{f"HELM_{name}_HOME": os.path.join(HOME.name, name.lower()) for name in ("CACHE", "CONFIG", "DATA")})
    done = subprocess.run([HELM, *args], capture_output=True, text=True, timeout=timeout, env=env)
    return Run(["helm", *args], done)


def helm(*args, **kw):
    """Runs helm; fails unless it exits with 0. Gives its standard output."""
    r = attempt(*args, **kw)
    if r.code != 0:
        raise Failed(str(r))
    return r.out


def fails(*args, says=(), **kw):
    """Runs helm; fails unless it is refused with these words."""
    r = attempt(*args, **kw)
    if r.code == 0:
        raise Failed(f"expected a failure\n{r}")
    contains(r.err + r.out, *([says] if isinstance(says, str) else says))
    return r.err


def history(name="web"):
    return [(h["revision"], h["status"]) for h in json.loads(helm("history", name, *N, "-o", "json"))]


def ready_pods(name="web"):
    pods = get("pods", *N, "-l", f"app.kubernetes.io/instance={name},role=serve")["items"]
    live = [p for p in pods if "deletionTimestamp" not in p["metadata"]]
    return [p for p in live if any(c["type"] == "Ready" and c["status"] == "True" for c in p["status"].get("conditions", []))]


def the_chart_is_sound_and_renders_without_a_cluster():
    contains(helm("lint", CHART), "0 chart(s) failed")
    out = helm("template", "web", CHART, *N, "--set", "docks[0].name=south,docks[0].berths=2", "--include-crds")
    contains(out, "kind: CustomResourceDefinition", "name: web-south", 'namespace: ""', 'minor: "37"')


def what_the_server_refuses_fails_the_release_and_leaves_nothing_behind():
    fails("install", "bad", CHART, *N, "--set", "replicas=many", says=["INSTALLATION FAILED", "replicas"])
    equal(history("bad"), [(1, "failed")])
    helm("uninstall", "bad", *N)
    for kind in ("deploy", "service", "docks.helm.conformance.example"):
        equal(get(kind, *N)["items"], [], kind)
    kubectl("delete", "secret", "bad", *N)


def install_waits_until_all_is_ready():
    out = helm("install", "web", CHART, *N, "--wait", "--timeout", "90s")
    contains(out, "STATUS: deployed", "REVISION: 1", "web says hello.")
    equal(len(ready_pods()), 2, "ready pods when helm returned")
    equal(get("cm", "web", *N)["data"], {
        "greeting": "hello", "capabilities": "true", "namespace": NS,
        "minor": json.loads(kubectl("version", "-o", "json"))["serverVersion"]["minor"],
    }, "what the chart saw of the cluster")
    found = get("deploy", "web", *N)["metadata"]
    equal(found["labels"]["app.kubernetes.io/managed-by"], "Helm")
    equal(found["annotations"]["meta.helm.sh/release-name"], "web")
    equal(get("docks.helm.conformance.example", "web-north", *N)["spec"], {"berths": 3, "depth": 9}, "of a kind that the chart brought")
    account = f"system:serviceaccount:{NS}:web"
    equal(kubectl("auth", "can-i", "get", "configmaps/web", *N, "--as", account).strip(), "yes")
    equal(run("auth", "can-i", "list", "secrets", *N, "--as", account).out.strip(), "no")


def hooks_run_in_their_order_and_go_as_they_say():
    equal(get("cm", "web-before", *N)["data"], {"revision": "1"})
    refused("get", "pod", "web-after", *N, says="NotFound")
    contains(helm("get", "hooks", "web", *N), "helm.sh/hook: post-install,post-upgrade", "name: web-before", "name: web-test")


def the_record_of_a_release_is_kept_and_read_back():
    found = get("secret", "sh.helm.release.v1.web.v1", *N)
    equal((found["type"], found["metadata"]["labels"]["status"]), ("helm.sh/release.v1", "deployed"))
    equal([(r["name"], r["revision"], r["status"], r["chart"]) for r in json.loads(helm("list", *N, "-o", "json"))], [("web", "1", "deployed", "harbour-1.0.0")])
    contains(helm("get", "manifest", "web", *N), "kind: Deployment", "kind: Dock", "kind: RoleBinding")
    contains(helm("get", "values", "web", *N, "--all"), "greeting: hello", "name: north")
    contains(helm("get", "notes", "web", *N), "web says hello.")
    contains(helm("status", "web", *N, "--show-resources"), "STATUS: deployed", "==> v1/Deployment", "==> v1/Pod(related)", "==> v1/Dock")


def a_template_is_validated_against_the_cluster():
    server = json.loads(kubectl("version", "-o", "json"))["serverVersion"]["minor"]
    contains(helm("template", "fresh", CHART, *N, "--validate", "--skip-crds"), "kind: Dock", f'minor: "{server}"')
    contains(helm("template", "fresh", CHART, *N, "--dry-run=server", "--skip-crds"), f'namespace: "{NS}"')
    broken = os.path.join(HOME.name, "broken")
    os.makedirs(os.path.join(broken, "templates"), exist_ok=True)
    with open(os.path.join(broken, "Chart.yaml"), "w", encoding="utf-8") as f:
        f.write("{apiVersion: v2, name: broken, version: 1.0.0}")
    with open(os.path.join(broken, "templates", "s.yaml"), "w", encoding="utf-8") as f:
        f.write("{apiVersion: helm.conformance.example/v1, kind: Pier, metadata: {name: broken}}")
    fails("template", "fresh", broken, *N, "--validate", says=['no matches for kind "Pier" in version "helm.conformance.example/v1"', "ensure CRDs are installed first"])


def a_name_is_taken_once():
    fails("install", "web", CHART, *N, says="cannot re-use a name that is still in use")
    fails("install", "web", CHART, "-n", "conformance-helm-nowhere", "--skip-crds", says='namespaces "conformance-helm-nowhere" not found')


def what_another_release_owns_is_not_taken():
    kubectl("create", "cm", "taken", *N)
    fails("install", "taken", CHART, *N, says=["exists and cannot be imported into the current release", "invalid ownership metadata"])
    kubectl("delete", "cm", "taken", *N)
    equal([r["name"] for r in json.loads(helm("list", *N, "-a", "-o", "json"))], ["web"])


def an_upgrade_changes_what_differs_and_removes_what_is_left_out():
    before = get("service", "web", *N)["metadata"]["resourceVersion"]
    helm("upgrade", "web", CHART, *N, "--wait", "--timeout", "90s", "--set", "greeting=ahoy,replicas=3,docks[0].name=south,docks[0].berths=2")
    equal(len(ready_pods()), 3)
    equal(get("cm", "web", *N)["data"]["greeting"], "ahoy")
    equal([d["metadata"]["name"] for d in get("docks.helm.conformance.example", *N)["items"]], ["web-south"])
    equal(get("service", "web", *N)["metadata"]["resourceVersion"], before, "what is the same is not written")
    equal(get("cm", "web-before", *N)["data"], {"revision": "2"})
    equal(history(), [(1, "superseded"), (2, "deployed")])


def an_upgrade_keeps_what_others_changed():
    kubectl("annotate", "deploy", "web", *N, "others=theirs")
    kubectl("patch", "cm", "web", *N, "--type=merge", "-p", '{"data": {"greeting": "drifted", "extra": "theirs"}}')
    helm("upgrade", "web", CHART, *N, "--reuse-values", "--wait", "--timeout", "90s")
    equal(get("deploy", "web", *N)["metadata"]["annotations"]["others"], "theirs")
    found = get("cm", "web", *N)["data"]
    equal((found["greeting"], found["extra"]), ("ahoy", "theirs"), "drift goes, what is not the chart's stays")


def rollback_brings_back_a_revision():
    helm("rollback", "web", "1", *N, "--wait", "--timeout", "90s")
    equal(len(ready_pods()), 2)
    equal(get("cm", "web", *N)["data"]["greeting"], "hello")
    equal([d["metadata"]["name"] for d in get("docks.helm.conformance.example", *N)["items"]], ["web-north"])
    equal(history(), [(1, "superseded"), (2, "superseded"), (3, "superseded"), (4, "deployed")])
    contains(helm("history", "web", *N), "Rollback to 1")
    fails("rollback", "web", "99", *N, says="release has no 99 version")


def tests_of_a_release_run():
    out = helm("test", "web", *N, "--timeout", "60s")
    contains(out, "TEST SUITE:", "web-test", "Phase:          Succeeded")


def a_failed_upgrade_rolls_back_when_it_is_atomic():
    generation = lambda: get("deploy", "web", *N)["metadata"]["generation"]
    fails("upgrade", "web", CHART, *N, "--set", "ready=false,greeting=oops", "--atomic", "--timeout", "6s", says=["has been rolled back due to atomic being set", "deadline"])
    equal(history()[-2:], [(5, "failed"), (6, "deployed")])
    equal(get("cm", "web", *N)["data"]["greeting"], "hello")
    eventually(lambda: len(ready_pods()) == 2)
    if generation() < 3:
        raise Failed("the deployment was not touched")


def a_hook_that_fails_fails_the_upgrade():
    fails("upgrade", "web", CHART, *N, "--set", "hookExitCode=3", "--timeout", "60s", says=["post-upgrade hooks failed", "pod web-after failed"])
    equal(history()[-1], (7, "failed"))
    helm("upgrade", "web", CHART, *N, "--reset-values", "--wait", "--timeout", "90s")
    equal(history()[-1], (8, "deployed"))


def two_releases_stand_side_by_side():
    helm("install", "twin", CHART, *N, "--skip-crds", "--set", "replicas=1", "--wait", "--timeout", "90s")
    equal(sorted(r["name"] for r in json.loads(helm("list", *N, "-o", "json"))), ["twin", "web"])
    equal([r["name"] for r in json.loads(helm("list", "-A", "-f", "^twin$", "-o", "json"))], ["twin"])


def uninstall_takes_all_but_what_is_to_be_kept():
    out = helm("uninstall", "web", *N, "--wait", "--timeout", "90s", "--keep-history")
    contains(out, "kept due to the resource policy", "web")
    for kind in ("deploy", "service", "cm", "role", "rolebinding", "sa", "pdb", "docks.helm.conformance.example"):
        left = [o["metadata"]["name"] for o in get(kind, *N, "-l", "app.kubernetes.io/instance=web")["items"]]
        equal(left, [], kind)
    equal(get("secret", "web", *N)["metadata"]["name"], "web", "kept")
    equal(history()[-1], (8, "uninstalled"))
    eventually(lambda: not get("pods", *N, "-l", "app.kubernetes.io/instance=web,role=serve")["items"])
    helm("uninstall", "web", *N)
    fails("status", "web", *N, says="not found")
    equal(get("docks.helm.conformance.example", "twin-north", *N)["spec"]["berths"], 3, "the twin's")
    helm("uninstall", "twin", *N, "--wait", "--timeout", "90s")
    equal(get("crd", "docks.helm.conformance.example")["kind"], "CustomResourceDefinition", "helm never removes definitions")
    kubectl("delete", "crd", "docks.helm.conformance.example", timeout=60)


CASES = [
    the_chart_is_sound_and_renders_without_a_cluster, what_the_server_refuses_fails_the_release_and_leaves_nothing_behind, install_waits_until_all_is_ready,
    hooks_run_in_their_order_and_go_as_they_say, the_record_of_a_release_is_kept_and_read_back, a_template_is_validated_against_the_cluster,
    a_name_is_taken_once, what_another_release_owns_is_not_taken, an_upgrade_changes_what_differs_and_removes_what_is_left_out,
    an_upgrade_keeps_what_others_changed, rollback_brings_back_a_revision, tests_of_a_release_run,
    a_failed_upgrade_rolls_back_when_it_is_atomic, a_hook_that_fails_fails_the_upgrade, two_releases_stand_side_by_side,
    uninstall_takes_all_but_what_is_to_be_kept,
]

if __name__ == "__main__":
    main(CASES, NS)
