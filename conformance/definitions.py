"""Foreign definitions, those of OpenKruise and Koordinator, on a server that does not know their kinds: every version of every one.

Needs CONFORMANCE_DATA (the folder with openkruise/crds and koordinator/crds) and a cluster that serves none of their groups; a
cluster of Knarr's own has to be started with `--without workloads`. Whatever is there already is left alone and fails the run.
Objects are made from the schemas (`_schema.py`), so nothing here knows a kind. KUBECTL names the client.
"""

import copy
import glob
import json
import os
import tempfile
import threading
import time

from _kit import DATA, Failed, contains, equal, eventually, kubectl, main, run
from _proxy import Proxy
from _schema import ROOT, UNKNOWN, changed, defaulted, defaults, example, pruned, wrongs

NS = "conformance-definitions"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
APPROVAL = "api-approved.kubernetes.io"
# Characters of one complaint.
SHOWN = 1200
FOLDERS = {"openkruise": 18, "koordinator": 13}


class Version:
    """A served version of a definition."""

    def __init__(self, definition, spec):
        self.definition, self.name = definition, spec["name"]
        self.schema = spec["schema"]["openAPIV3Schema"]
        self.columns = spec.get("additionalPrinterColumns", [])
        self.has_status = "status" in spec.get("subresources", {})
        self.scale = spec.get("subresources", {}).get("scale")
        self.is_stored = spec["storage"]

    def __str__(self):
        return f"{self.definition.name} {self.name}"

    @property
    def api_version(self):
        return f"{self.definition.group}/{self.name}"

    def path(self, name="", sub="", query=""):
        where = f"/namespaces/{NS}" if self.definition.namespaced else ""
        rest = "".join(f"/{part}" for part in (name, sub) if part)
        return f"/apis/{self.api_version}{where}/{self.definition.plural}{rest}" + (f"?{query}" if query else "")

    def object(self, name, full=False, **labels):
        out = example(self.schema, full, root=True)
        meta = {"name": name, "labels": {"from": self.name, **labels}}
        if self.definition.namespaced:
            meta["namespace"] = NS
        return {"apiVersion": self.api_version, "kind": self.definition.kind, "metadata": meta, **out}


class Definition:
    def __init__(self, file):
        with open(file, encoding="utf-8") as f:
            self.whole = json.load(f)
        spec = self.whole["spec"]
        self.file, self.name, self.group, self.names = file, self.whole["metadata"]["name"], spec["group"], spec["names"]
        self.plural, self.kind, self.namespaced = self.names["plural"], self.names["kind"], spec["scope"] == "Namespaced"
        self.versions = [Version(self, v) for v in spec["versions"] if v["served"]]
        self.stored = next(v for v in self.versions if v.is_stored)

    def __str__(self):
        return self.name


ALL = [Definition(f) for folder in FOLDERS for f in sorted(glob.glob(os.path.join(DATA, folder, "crds", "*.json")))]
VERSIONS = [v for d in ALL for v in d.versions]
server = None


def each(all, check):
    """Calls `check` for each; one failure names all that failed."""
    wrong = []
    for one in all:
        try:
            check(one)
        except (Failed, KeyError, IndexError, ValueError, TypeError, OSError) as e:
            wrong.append(f"{one}: {type(e).__name__}: {e}"[:SHOWN])
    if wrong:
        raise Failed(f"{len(wrong)} of {len(all)}:\n" + "\n".join(wrong))


def same(found, wanted, what):
    """Equal; otherwise the failure names the first places that differ."""
    places = list(differences(found, wanted, ""))
    if places:
        raise Failed(f"{what}: " + "; ".join(places[:4]))


def differences(found, wanted, path):
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in sorted(found.keys() | wanted.keys()):
            yield from differences(found.get(key, "nothing"), wanted.get(key, "nothing"), f"{path}.{key}")
    elif isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        for i, (one, other) in enumerate(zip(found, wanted)):
            yield from differences(one, other, f"{path}[{i}]")
    elif found != wanted:
        yield f"{path} is {found!r}, wanted {wanted!r}"


def soon(check, seconds=1.0):
    """Within a second, which is what is promised of anything a definition brings."""
    return eventually(check, seconds=seconds, every=0.02)


def body(object):
    """An object without what the server owns."""
    return {k: v for k, v in object.items() if k not in ROOT}


def sent(version, object):
    """What a server makes of an object sent in this version: pruned, without status where that has a door of its own, defaulted."""
    out = pruned(version.schema, copy.deepcopy(object), root=True)
    if version.has_status:
        out.pop("status", None)
    return defaulted(version.schema, out)


def read(version, object):
    """What is read in this version of what another wrote: it rests in the stored version, and nothing converts."""
    stored = version.definition.stored
    rests = defaulted(stored.schema, pruned(stored.schema, copy.deepcopy(object), root=True))
    return pruned(version.schema, rests, root=True)


# The definitions themselves.


def nothing_of_it_is_there_before():
    for folder, count in FOLDERS.items():
        equal(len(glob.glob(os.path.join(DATA, folder, "crds", "*.json"))), count, f"definitions in {folder} of {DATA}")
    there = {d["metadata"]["name"] for d in server.get(CRDS)["items"]} & {d.name for d in ALL}
    if there:
        raise SystemExit(f"definitions.py: the cluster has {sorted(there)} already; it is left alone")
    kubectl("create", "namespace", NS)


def a_protected_group_needs_its_approval():
    for d in ALL:
        if d.group.endswith(".k8s.io"):
            bare = copy.deepcopy(d.whole)
            del bare["metadata"]["annotations"][APPROVAL]
            answer = server.call("POST", CRDS, bare)
            answer.ok(422)
            contains(str(answer.body), f"metadata.annotations[{APPROVAL}]: Required value", "protected groups must have approval")


def applying_the_set_twice_changes_nothing():
    files = [word for d in ALL for word in ("-f", d.file)]
    created = sorted(kubectl("apply", *files, timeout=120).splitlines())
    equal(created, sorted(f"customresourcedefinition.apiextensions.k8s.io/{d.name} created" for d in ALL))
    eventually(lambda: each(ALL, is_established) or True, seconds=10)
    before = {d.name: server.get(f"{CRDS}/{d.name}")["metadata"]["resourceVersion"] for d in ALL}
    # Of what the server leaves out because it is empty kubectl says "configured"; versions tell whether anything changed.
    kubectl("apply", *files, timeout=120)
    equal(run("diff", *files, timeout=120).code, 0, "exit code of diff")
    after = {d.name: server.get(f"{CRDS}/{d.name}")["metadata"]["resourceVersion"] for d in ALL}
    equal(after, before, "versions after the second apply")
    kubectl("wait", "--for=condition=Established", *files, timeout=60)


def is_established(d):
    status = server.get(f"{CRDS}/{d.name}")["status"]
    told = {c["type"]: (c["status"], c["reason"]) for c in status["conditions"]}
    wanted = {"NamesAccepted": ("True", "NoConflicts"), "Established": ("True", "InitialNamesAccepted")}
    if d.group.endswith(".k8s.io"):
        wanted["KubernetesAPIApprovalPolicyConformant"] = ("True", "ApprovedAnnotation")
    equal(told, wanted, "conditions")
    equal(status["acceptedNames"], d.names, "acceptedNames")
    equal(status["storedVersions"], [d.stored.name], "storedVersions")


def every_one_is_established_under_its_names():
    each(ALL, is_established)


# What a client learns of them.


def every_version_is_discovered():
    whole = {g["metadata"]["name"]: g for g in server.get("/apis", accept=AGGREGATED)["items"]}

    def check(v):
        d = v.definition
        found = {r["name"]: r for r in server.get(f"/apis/{v.api_version}")["resources"]}
        mine = found[d.plural]
        names = ("singularName", "kind", "namespaced")
        equal([mine[n] for n in names], [d.names["singular"], d.kind, d.namespaced], "names")
        equal(mine.get("shortNames", []), d.names.get("shortNames", []), "short names")
        equal(sorted(mine["verbs"]), sorted("create delete deletecollection get list patch update watch".split()), "verbs")
        subs = {n.split("/")[1]: r["kind"] for n, r in found.items() if n.startswith(f"{d.plural}/")}
        equal(subs, ({"status": d.kind} if v.has_status else {}) | ({"scale": "Scale"} if v.scale else {}), "subresources")
        versions = {one["version"]: one for one in whole[d.group]["versions"]}
        one = next(r for r in versions[v.name]["resources"] if r["resource"] == d.plural)
        equal((one["responseKind"]["kind"], one.get("shortNames", [])), (d.kind, d.names.get("shortNames", [])), "aggregated")
        equal(sorted(s["subresource"] for s in one.get("subresources", [])), sorted(subs), "aggregated subresources")
        preferred = server.get(f"/apis/{d.group}")["preferredVersion"]["version"]
        # Versions are preferred by maturity, whichever is stored.
        equal(preferred, max((o.name for o in VERSIONS if o.definition.group == d.group), key=lambda n: (n[:6], n)), "preferred")

    each(VERSIONS, check)


def properties_of(document, version):
    """The published schema of a version's root, with references followed."""
    schemas = document.get("definitions") or document["components"]["schemas"]
    gvk = {"group": version.definition.group, "version": version.name, "kind": version.definition.kind}
    for schema in schemas.values():
        if gvk in schema.get("x-kubernetes-group-version-kind", []):
            return schema
    raise Failed(f"no schema of {gvk}")


def openapi_describes_every_field():
    index, old = server.get("/openapi/v3")["paths"], server.get("/openapi/v2")

    def check(v):
        document = server.get(index[f"apis/{v.api_version}"]["serverRelativeURL"])
        same_names(properties_of(document, v), v.schema, "", False)
        same_names(properties_of(old, v), v.schema, "", True)
        patch = document["paths"][v.path("{name}").replace(f"/{NS}/", "/{namespace}/")]["patch"]
        contains(json.dumps([p.get("name") for p in patch["parameters"]]), "fieldValidation")

    each(VERSIONS, check)


def same_names(published, schema, path, is_old):
    if is_old and (schema.get(UNKNOWN) or schema.get("nullable")):
        return  # version 2 has no words for that and lists nothing
    for name, one in schema.get("properties", {}).items():
        if not (path == "" and name in ROOT):
            if name not in published.get("properties", {}):
                raise Failed(f"{path}.{name} is not published")
            same_names(published["properties"][name], one, f"{path}.{name}", is_old)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            same_names(published.get(key, {}), schema[key], f"{path}[]", is_old)


def kubectl_explains_every_version():
    def check(v):
        top = [p for p in v.schema["properties"] if p not in ROOT]
        said = kubectl("explain", v.definition.plural, f"--api-version={v.api_version}", "--recursive")
        contains(said, f"KIND:       {v.definition.kind}", f"VERSION:    {v.name}", *top)
        for field in top:
            contains(said, *v.schema["properties"][field].get("properties", {}))

    each(VERSIONS, check)


# Objects.


def a_least_and_a_whole_object_are_read_in_every_version():
    def check(v):
        for name, full in (("least", False), ("whole", True)):
            wanted = v.object(f"{name}-{v.name}", full)
            made = server.call("POST", v.path(query="fieldValidation=Strict"), wanted)
            made.ok(201)
            equal(made.warnings, [], "warnings")
            for other in v.definition.versions:
                found = server.get(other.path(wanted["metadata"]["name"]))
                equal(found["apiVersion"], other.api_version, "apiVersion")
                same(body(found), body(read(other, sent(v, wanted))), f"{name} read in {other.name}")
            whole = server.get(v.path(wanted["metadata"]["name"]))
            same(body(made.body), body(whole), "answer to the creation")
            equal(whole["metadata"]["generation"], 1, "generation")

    each(VERSIONS, check)


def every_default_is_filled_where_its_parent_is():
    def check(v):
        name = f"defaults-{v.name}"
        bare = without_defaults(v.schema, v.object(name, full=True))
        server.call("POST", v.path(), bare).ok(201)
        same(body(server.get(v.path(name))), body(read(v, sent(v, bare))), "object")

    each([v for v in VERSIONS if defaults(v.schema)], check)


def without_defaults(schema, value):
    if isinstance(value, list):
        return [without_defaults(schema.get("items", {}), one) for one in value]
    if not isinstance(value, dict):
        return value
    at = lambda name: schema.get("properties", {}).get(name) or schema.get("additionalProperties") or {}
    return {k: without_defaults(at(k), one) for k, one in value.items() if "default" not in at(k)}


def an_unknown_field_is_refused_warned_of_or_dropped():
    def check(v):
        least = v.object(f"unknown-{v.name}")
        field = "nonsense"
        if "spec" in v.schema["properties"] and not v.schema["properties"]["spec"].get("x-kubernetes-preserve-unknown-fields"):
            least["spec"] = example(v.schema["properties"]["spec"]) | {"nonsense": 1}
            field = "spec.nonsense"
        else:
            least["nonsense"] = 1
        strict = server.call("POST", v.path(query="fieldValidation=Strict"), least)
        strict.ok(400)
        contains(strict.body["message"], f'strict decoding error: unknown field "{field}"')
        warned = server.call("POST", v.path(query="dryRun=All"), least)
        warned.ok(201)
        equal(warned.warnings, [f'unknown field "{field}"'], "warnings")
        ignored = server.call("POST", v.path(query="dryRun=All&fieldValidation=Ignore"), least)
        ignored.ok(201)
        equal(ignored.warnings, [], "warnings when ignored")
        contains_not(ignored.body, "nonsense")
        text = json.dumps(least)
        done = run("create", "--dry-run=server", "-f", "-", stdin=text)
        if done.code == 0 or f'unknown field "{field}"' not in done.err:
            raise Failed(str(done))

    each(VERSIONS, check)


def contains_not(object, word):
    if word in json.dumps(body(object)):
        raise Failed(f"{word!r} in {object}")


def every_constraint_is_kept_at_its_path():
    def check(v):
        whole, count = v.object(f"wrong-{v.name}", full=True), 0
        for keys, value, path, words in wrongs(v.schema, whole):
            if v.has_status and keys[0] == "status":
                continue
            is_told(server.call("POST", v.path(query="dryRun=All"), changed(whole, keys, value)), path, words)
            count += 1
        if not count:
            raise Failed("no constraint")

    each([v for v in VERSIONS if set(v.schema["properties"]) - {*ROOT, "status"}], check)


def kind_and_metadata_must_be_those_of_an_object():
    def check(v):
        other = server.call("POST", v.path(query="dryRun=All"), v.object("other") | {"kind": "Other"})
        other.ok(422)
        equal(other.causes(), {("kind", f'Invalid value: "Other": must be {v.definition.kind}')}, "causes")
        contains(other.body["message"], f'Other.{v.definition.group} "other" is invalid: kind: ')
        numbered = v.object("numbered", number=5)
        said = server.call("POST", v.path(query="dryRun=All"), numbered)
        said.ok(400)
        contains(said.body["message"], "json: cannot unmarshal number into Go struct field ObjectMeta.labels of type string")

    each(VERSIONS, check)


def is_told(answer, path, words):
    answer.ok(422)
    if not any(field == path and words in message for field, message in answer.causes()):
        raise Failed(f"expected {path}: {words} in {sorted(answer.causes())}")


def status_has_a_door_of_its_own():
    def check(v):
        name = f"whole-{v.name}"
        whole = v.object(name, full=True)
        before = server.get(v.path(name))
        if "status" in before:
            same(before["status"], defaulted(v.schema["properties"]["status"], {}), "status after creation")
        told = copy.deepcopy(before) | {"status": whole["status"]}
        told["metadata"]["labels"]["not-through-here"] = "x"
        if "spec" in told:
            told["spec"] = {"nonsense": 1}
        after = server.call("PUT", v.path(name, "status"), told).ok()
        same(after["status"], read(v, sent_status(v, whole))["status"], "status")
        same(after.get("spec"), before.get("spec"), "spec")
        equal(after["metadata"]["generation"], before["metadata"]["generation"], "generation")
        back = copy.deepcopy(after) | {"status": {}}
        back["metadata"]["labels"]["through-here"] = "x"
        again = server.call("PUT", v.path(name), back).ok()
        same(again["status"], after["status"], "status after an update of the object")
        for keys, value, path, words in wrongs(v.schema, whole):
            if keys[0] == "status":
                wrong = copy.deepcopy(again) | {"status": changed(whole, keys, value).get("status")}
                if wrong["status"] is not None:
                    is_told(server.call("PUT", v.path(name, "status", "dryRun=All"), wrong), path, words)

    each([v for v in VERSIONS if v.has_status], check)


def sent_status(v, object):
    return defaulted(v.schema, pruned(v.schema, copy.deepcopy(object), root=True))


def scale_reads_and_writes_the_paths_it_names():
    def check(v):
        name = f"whole-{v.name}"
        found = server.get(v.path(name, "scale"))
        object = server.get(v.path(name))
        equal((found["apiVersion"], found["kind"]), ("autoscaling/v1", "Scale"))
        wanted = (at(object, v.scale["specReplicasPath"]), at(object, v.scale["statusReplicasPath"]), at(object, v.scale["labelSelectorPath"]))
        equal((found["spec"]["replicas"], found["status"]["replicas"], found["status"]["selector"]), wanted, "scale")
        found["spec"]["replicas"] = 7
        server.call("PUT", v.path(name, "scale"), found).ok()
        equal(at(server.get(v.path(name)), v.scale["specReplicasPath"]), 7, "replicas")
        kubectl("scale", f"{v.definition.plural}.{v.name}.{v.definition.group}/{name}", "-n", NS, "--replicas=4")
        equal(at(server.get(v.path(name)), v.scale["specReplicasPath"]), 4, "replicas after kubectl scale")

    found = [v for v in VERSIONS if v.scale]
    equal(len(found), 6, "versions with a scale")
    each(found, check)


def at(object, path):
    for key in path.strip(".").split("."):
        object = object.get(key) if isinstance(object, dict) else None
    return object


def tables_have_the_columns_of_the_version():
    def check(v):
        name = f"whole-{v.name}"
        table = server.get(v.path(name), accept=TABLE)
        columns = v.columns or [{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}]
        told = [(c["name"], c["type"], c["priority"]) for c in table["columnDefinitions"]]
        equal(told, [("Name", "string", 0)] + [(c["name"], c["type"], c.get("priority", 0)) for c in columns], "columns")
        cells, object = table["rows"][0]["cells"], server.get(v.path(name))
        equal(cells[0], name, "name")
        for column, cell in zip(columns, cells[1:]):
            value = at(object, column["jsonPath"])
            # Other paths filter or index; their cells are judged by the recorded answers.
            if value is not None and not isinstance(value, (dict, list)) and column["type"] in ("integer", "string"):
                equal(cell, value, column["name"])
            if column["type"] == "date" and value and not str(cell)[:1].isdigit():
                raise Failed(f"{column['name']} is {cell!r}")
        shown = kubectl("get", f"{v.definition.plural}.{v.name}.{v.definition.group}", name, *where(v))
        contains(shown.splitlines()[0], *(c["name"].upper() for c in columns if not c.get("priority")))

    each(VERSIONS, check)


def where(v):
    return ("-n", NS) if v.definition.namespaced else ()


def labels_and_names_select():
    def check(v):
        def names(query):
            return sorted(o["metadata"]["name"] for o in server.get(v.path(query=query))["items"])

        mine = [f"least-{v.name}", f"whole-{v.name}"] + ([f"defaults-{v.name}"] if defaults(v.schema) else [])
        equal(names(f"labelSelector=from%3D{v.name}"), sorted(mine), "by label")
        equal(names(f"labelSelector=from%20in%20({v.name}),from!%3D{v.name}"), [], "by two labels")
        equal(names(f"fieldSelector=metadata.name%3Dwhole-{v.name}"), [f"whole-{v.name}"], "by name")
        server.call("GET", v.path(query="fieldSelector=spec.nonsense%3Dx")).ok(400)

    each(VERSIONS, check)


def applying_an_object_twice_changes_nothing():
    def check(v):
        text = v.object(f"applied-{v.name}", full=True)
        if v.has_status:
            text.pop("status", None)
        path, kind = v.path(text["metadata"]["name"], query="fieldManager=judge"), "application/apply-patch+yaml"
        made = server.call("PATCH", path, text, kind)
        made.ok(201)
        again = server.call("PATCH", path, text, kind)
        same(again.ok(200), made.body, "applied again")
        owner = made.body["metadata"]["managedFields"][0]
        equal((owner["manager"], owner["operation"], owner["apiVersion"]), ("judge", "Apply", v.api_version), "manager")
        text["metadata"]["labels"]["more"] = "x"
        changed = server.call("PATCH", path, text, kind).ok(200)
        equal(changed["metadata"]["generation"], made.body["metadata"]["generation"], "generation after a change of labels")
        other = v.object(f"applied-{v.name}", from_other="x")
        other["metadata"]["labels"]["more"] = "y"
        conflict = server.call("PATCH", v.path(f"applied-{v.name}", query="fieldManager=other"), other, kind)
        conflict.ok(409)
        contains(str(conflict.body), 'conflict with "judge"', ".metadata.labels.more")

    # What another version does not know is lost on the way to the disk, so applying it again brings it again.
    each([v for v in VERSIONS if v.is_stored], check)


def a_watch_tells_each_change_in_its_version():
    def check(v):
        name = f"watched-{v.name}"
        events, from_ = [], server.get(v.path(query="limit=1"))["metadata"]["resourceVersion"]

        def listen():
            query = f"watch=1&resourceVersion={from_}&fieldSelector=metadata.name%3D{name}&timeoutSeconds=20"
            for kind, object in server.watch(v.path(query=query)):
                events.append((kind, object["apiVersion"], object["metadata"]["labels"].get("step")))
                if kind == "DELETED":
                    return

        thread = threading.Thread(target=listen)
        thread.start()
        server.call("POST", v.path(), v.object(name, full=True, step="1")).ok(201)
        patch = {"metadata": {"labels": {"step": "2"}}}
        server.call("PATCH", v.definition.stored.path(name), patch, "application/merge-patch+json").ok()
        server.call("DELETE", v.path(name)).ok()
        thread.join(timeout=20)
        equal(events, [(k, v.api_version, step) for k, step in (("ADDED", "1"), ("MODIFIED", "2"), ("DELETED", "2"))], "events")

    each(VERSIONS, check)


def short_names_name_their_kind():
    taken = {n for r in server.get("/api/v1")["resources"] + server.get("/apis/apps/v1")["resources"] for n in r.get("shortNames", [])}

    def check(d):
        for short in d.names["shortNames"]:
            if short not in taken:
                names = kubectl("get", short, *where(d.stored), "-o", "name")
                contains(names, f"{d.names['singular']}.{d.group}/least-{d.stored.name}")

    each([d for d in ALL if d.names.get("shortNames")], check)


# Changes of definitions.


def a_new_field_and_a_category_are_served_within_a_second():
    def check(d):
        v, name = d.stored, f"least-{d.stored.name}"
        found = server.get(f"{CRDS}/{d.name}")
        found["spec"]["names"]["categories"] = ["judged"]
        for one in found["spec"]["versions"]:
            one["schema"]["openAPIV3Schema"]["properties"]["added"] = {"type": "string", "default": "new", "enum": ["new", "old"]}
        server.call("PUT", f"{CRDS}/{d.name}", found).ok()
        index = lambda: server.get("/openapi/v3")["paths"][f"apis/{v.api_version}"]["serverRelativeURL"]
        soon(lambda: "added" in properties_of(server.get(index()), v)["properties"])
        equal(server.get(v.path(name))["added"], "new", "default of the new field in an old object")
        least = v.object(f"upgraded-{v.name}") | {"added": "old"}
        server.call("POST", v.path(query="fieldValidation=Strict"), least).ok(201)
        wrong = server.call("POST", v.path(query="dryRun=All"), least | {"added": "x"})
        is_told(wrong, "added", 'Unsupported value: "x": supported values: "new", "old"')
        listed = server.get(f"/apis/{v.api_version}")["resources"]
        equal(next(r for r in listed if r["name"] == d.plural).get("categories"), ["judged"], "categories")

    each(ALL, check)
    # What kubectl has learnt of the server it keeps for hours.
    with tempfile.TemporaryDirectory() as fresh:
        shown = kubectl("get", "judged", "-A", "-o", "name", timeout=120, env={"KUBECACHEDIR": fresh})
    contains(shown, *(f"{d.names['singular']}.{d.group}/upgraded-{d.stored.name}" for d in ALL))


def a_definition_is_published_within_a_second_and_ends_with_its_objects():
    def check(d):
        v = d.stored
        end = watch_to_the_end(v)
        server.call("DELETE", f"{CRDS}/{d.name}").ok()
        eventually(lambda: server.call("GET", f"{CRDS}/{d.name}").status == 404, seconds=20)
        told = end()
        left = {name for kind, name in told if kind in ("ADDED", "MODIFIED")} - {name for kind, name in told if kind == "DELETED"}
        equal(left, set(), "objects whose deletion the watch did not tell")
        soon(lambda: server.call("GET", v.path()).status == 404)
        soon(lambda: not is_published(v))
        server.call("POST", CRDS, d.whole).ok()
        soon(lambda: server.call("GET", v.path()).status == 200)
        equal(server.get(v.path())["items"], [], "objects of a definition that came again")
        soon(lambda: is_published(v))
        soon(lambda: d.kind in json.dumps(server.get("/openapi/v2")), seconds=2)

    each(ALL, check)


def is_published(v):
    url = server.get("/openapi/v3")["paths"].get(f"apis/{v.api_version}", {}).get("serverRelativeURL")
    gvk = {"group": v.definition.group, "kind": v.definition.kind, "version": v.name}
    return bool(url) and any(
        gvk in s.get("x-kubernetes-group-version-kind", []) for s in server.get(url)["components"]["schemas"].values()
    )


def watch_to_the_end(v):
    """Starts a watch of a version; the function it gives waits until the server ends it, and gives what it told."""
    told, ready = [], threading.Event()

    def listen():
        for kind, object in server.watch(v.path(query="watch=1&resourceVersion=0&timeoutSeconds=120"), timeout=60):
            if kind == "ERROR":
                return told.append((kind, object["message"]))
            told.append((kind, object["metadata"]["name"]))
            ready.set()

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    if not ready.wait(10):
        raise Failed("the watch told nothing")

    def end():
        thread.join(timeout=20)
        if thread.is_alive():
            raise Failed("the watch did not end with its definition")
        return told

    return end


def everything_goes_again():
    kubectl("delete", "crd", *(d.name for d in ALL), "--timeout=60s", timeout=90)
    eventually(lambda: not {d["metadata"]["name"] for d in server.get(CRDS)["items"]} & {d.name for d in ALL})
    left = [g["name"] for g in server.get("/apis")["groups"] if g["name"] in {d.group for d in ALL}]
    equal(left, [], "groups left in discovery")
    kubectl("delete", "namespace", NS, "--wait=false")


CASES = [
    nothing_of_it_is_there_before,
    a_protected_group_needs_its_approval,
    applying_the_set_twice_changes_nothing,
    every_one_is_established_under_its_names,
    every_version_is_discovered,
    openapi_describes_every_field,
    kubectl_explains_every_version,
    a_least_and_a_whole_object_are_read_in_every_version,
    every_default_is_filled_where_its_parent_is,
    an_unknown_field_is_refused_warned_of_or_dropped,
    every_constraint_is_kept_at_its_path,
    kind_and_metadata_must_be_those_of_an_object,
    labels_and_names_select,
    status_has_a_door_of_its_own,
    scale_reads_and_writes_the_paths_it_names,
    tables_have_the_columns_of_the_version,
    applying_an_object_twice_changes_nothing,
    a_watch_tells_each_change_in_its_version,
    short_names_name_their_kind,
    a_new_field_and_a_category_are_served_within_a_second,
    a_definition_is_published_within_a_second_and_ends_with_its_objects,
    everything_goes_again,
]

if __name__ == "__main__":
    cache = tempfile.TemporaryDirectory()
    os.environ["KUBECACHEDIR"] = cache.name
    server = Proxy()
    main(CASES)
