"""What a program with the Python client does, against the cluster of KUBECONFIG: each case is one claim."""

import asyncio
import base64
import datetime
import json
import logging
import os
import threading
import time

import kubernetes
import urllib3
from kubernetes import client, dynamic, informer, utils, watch
from kubernetes.aio import client as aio_client, config as aio_config
from kubernetes.client.rest import ApiException
from kubernetes.dynamic.exceptions import DynamicApiError

from _kit import Failed, contains, equal, eventually, main

NS = "conformance-python"
GROUP = "python.conformance.example"
APPLY = "application/apply-patch+yaml"

urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # where the kubeconfig says so itself
logging.getLogger("kubernetes").setLevel(logging.CRITICAL)  # of a watch that was told to stop
kubernetes.config.load_kube_config()
core, apps, policy = client.CoreV1Api(), client.AppsV1Api(), client.PolicyV1Api()
custom, definitions = client.CustomObjectsApi(), client.ApiextensionsV1Api()


def refused(code, call, *args, says=(), **kw):
    """The answer to a call that must be refused with this code and these words."""
    try:
        found = call(*args, **kw)
    except (ApiException, DynamicApiError) as e:
        body = e.body.decode() if isinstance(e.body, bytes) else e.body or ""
        equal(e.status, code, f"status: {body}")
        answer = json.loads(body)
        contains(json.dumps(answer), *([says] if isinstance(says, str) else says))
        return answer
    raise Failed(f"expected {code}, was answered {str(found)[:300]}")


def config_map(name, data=None, **meta):
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, **meta), data=data)


def deployment(name, replicas=1, **labels):
    labels = {"app": name, **labels}
    container = client.V1Container(
        name="main", image="registry.example/web:1", env=[client.V1EnvVar(name="A", value="1")],
        ports=[client.V1ContainerPort(container_port=8080)],
    )
    template = client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels=labels),
        spec=client.V1PodSpec(containers=[container], termination_grace_period_seconds=1),
    )
    spec = client.V1DeploymentSpec(replicas=replicas, selector=client.V1LabelSelector(match_labels={"app": name}), template=template)
    return client.V1Deployment(metadata=client.V1ObjectMeta(name=name, labels=labels), spec=spec)


def available(name, replicas):
    """Waits until the deployment has settled; gives it."""
    def check():
        found = apps.read_namespaced_deployment(name, NS)
        s = found.status
        done = s.observed_generation == found.metadata.generation and s.available_replicas == s.updated_replicas == s.replicas == replicas
        return found if done else None
    return eventually(check)


def live(label):
    return [p for p in core.list_namespaced_pod(NS, label_selector=label).items if not p.metadata.deletion_timestamp]


def created_objects_come_back_as_models():
    found = core.create_namespaced_config_map(NS, config_map("plain", {"a": "1"}, labels={"x": "y"}))
    equal((found.kind, found.api_version, found.metadata.namespace, found.data), ("ConfigMap", "v1", NS, {"a": "1"}))
    if not isinstance(found.metadata.creation_timestamp, datetime.datetime) or not found.metadata.uid:
        raise Failed(f"metadata: {found.metadata}")
    generated = core.create_namespaced_config_map(NS, client.V1ConfigMap(metadata=client.V1ObjectMeta(generate_name="made-")))
    equal((generated.metadata.name[:5], len(generated.metadata.name)), ("made-", 10))
    made = apps.create_namespaced_deployment(NS, deployment("web", 2))
    equal((made.spec.strategy.type, made.spec.progress_deadline_seconds), ("RollingUpdate", 600), "defaults")
    secret = core.create_namespaced_secret(NS, client.V1Secret(metadata=client.V1ObjectMeta(name="s"), string_data={"k": "v"}))
    equal((secret.type, secret.data), ("Opaque", {"k": base64.b64encode(b"v").decode()}))
    available("web", 2)


def refusals_are_statuses_with_reason_and_details():
    found = refused(409, core.create_namespaced_config_map, NS, config_map("plain"))
    equal((found["reason"], found["details"]["name"], found["details"]["kind"]), ("AlreadyExists", "plain", "configmaps"))
    found = refused(404, core.read_namespaced_config_map, "absent", NS)
    equal((found["kind"], found["reason"], found["message"]), ("Status", "NotFound", 'configmaps "absent" not found'))
    found = refused(422, core.create_namespaced_config_map, NS, config_map("Not_A_Name"))
    equal((found["reason"], found["details"]["causes"][0]["field"]), ("Invalid", "metadata.name"))
    wrong = deployment("wrong")
    wrong.spec.template.metadata.labels = {"app": "other"}
    refused(422, apps.create_namespaced_deployment, NS, wrong, says="`selector` does not match template `labels`")


def json_patches_are_lists_of_steps():
    steps = [{"op": "test", "path": "/data/a", "value": "1"}, {"op": "add", "path": "/data/b", "value": "2"}]
    equal(core.patch_namespaced_config_map("plain", NS, steps).data, {"a": "1", "b": "2"})
    refused(422, core.patch_namespaced_config_map, "plain", NS, [{"op": "test", "path": "/data/a", "value": "9"}])
    equal(core.patch_namespaced_config_map("plain", NS, [{"op": "remove", "path": "/data/b"}]).data, {"a": "1"})


def merge_patches_remove_with_null_and_replace_lists():
    merge = {"_content_type": "application/merge-patch+json"}
    equal(core.patch_namespaced_config_map("plain", NS, {"data": {"a": None, "c": "3"}}, **merge).data, {"c": "3"})
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "registry.example/web:2"}]}}}}
    found = apps.patch_namespaced_deployment("web", NS, patch, **merge)
    equal((found.spec.template.spec.containers[0].image, found.spec.template.spec.containers[0].env), ("registry.example/web:2", None))


def strategic_patches_merge_lists_by_their_keys():
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "main", "env": [{"name": "B", "value": "2"}]}, {"name": "side", "image": "registry.example/side:1"}]}}}}
    found = apps.patch_namespaced_deployment("web", NS, patch, _content_type="application/strategic-merge-patch+json")
    main_, = [c for c in found.spec.template.spec.containers if c.name == "main"]
    equal((main_.image, [e.name for e in main_.env]), ("registry.example/web:2", ["B"]))
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "main", "env": [{"name": "C", "value": "3"}]}, {"name": "side", "$patch": "delete"}]}}}}
    found = apps.patch_namespaced_deployment("web", NS, patch, _content_type="application/strategic-merge-patch+json")
    equal([(c.name, sorted(e.name for e in c.env)) for c in found.spec.template.spec.containers], [("main", ["B", "C"])])
    available("web", 2)


def apply_shares_an_object_among_managers():
    def apply(manager, data, **kw):
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shared"}, "data": data}
        return core.patch_namespaced_config_map("shared", NS, body, field_manager=manager, _content_type=APPLY, **kw)

    equal(apply("one", {"a": "1", "b": "1"}).data, {"a": "1", "b": "1"}, "created by apply")
    before = apply("two", {"c": "2"})
    equal(before.data, {"a": "1", "b": "1", "c": "2"})
    equal(apply("two", {"c": "2"}).metadata.resource_version, before.metadata.resource_version, "an apply that changes nothing")
    found = refused(409, apply, "two", {"a": "2", "c": "2"}, says=['conflict with \\"one\\"', ".data.a"])
    equal(found["details"]["causes"][0]["reason"], "FieldManagerConflict")
    equal(apply("two", {"a": "2", "c": "2"}, force=True).data, {"a": "2", "b": "1", "c": "2"})
    equal(apply("one", {"b": "1"}).data, {"a": "2", "b": "1", "c": "2"}, "what another manager has taken stays")
    equal(apply("one", {}).data, {"a": "2", "c": "2"}, "what nobody else has goes")
    found = core.read_namespaced_config_map("shared", NS)
    equal(sorted((m.manager, m.operation) for m in found.metadata.managed_fields if m.manager in ("one", "two"))[-1], ("two", "Apply"))


def a_stale_replacement_is_refused():
    seen = core.read_namespaced_config_map("plain", NS)
    core.patch_namespaced_config_map("plain", NS, {"data": {"d": "4"}})
    seen.data = {"e": "5"}
    equal(refused(409, core.replace_namespaced_config_map, "plain", NS, seen)["reason"], "Conflict")
    seen.metadata.resource_version = core.read_namespaced_config_map("plain", NS).metadata.resource_version
    equal(core.replace_namespaced_config_map("plain", NS, seen).data, {"e": "5"})


def a_dry_run_answers_and_stores_nothing():
    equal(core.create_namespaced_config_map(NS, config_map("dry"), dry_run="All").metadata.name, "dry")
    refused(404, core.read_namespaced_config_map, "dry", NS)
    equal(core.patch_namespaced_config_map("plain", NS, {"data": {"e": "6"}}, dry_run="All").data, {"e": "6"})
    core.delete_namespaced_config_map("plain", NS, dry_run="All")
    equal(core.read_namespaced_config_map("plain", NS).data, {"e": "5"})


def unknown_fields_are_refused_or_warned_of():
    body = {"metadata": {"name": "odd"}, "data": {"a": "1"}, "dta": {"a": "1"}}
    refused(400, core.create_namespaced_config_map, NS, body, field_validation="Strict", says='unknown field \\"dta\\"')
    _, code, headers = core.create_namespaced_config_map_with_http_info(NS, body, field_validation="Warn")
    equal(code, 201)
    contains(headers["Warning"], "299", 'unknown field \\"dta\\"')


def a_watch_tells_changes_in_order():
    start = core.list_namespaced_config_map(NS).metadata.resource_version
    core.create_namespaced_config_map(NS, config_map("seen", {"n": "0"}))
    for n in range(1, 4):
        core.patch_namespaced_config_map("seen", NS, {"data": {"n": str(n)}})
    core.delete_namespaced_config_map("seen", NS)
    told = []
    watcher = watch.Watch()
    for event in watcher.stream(core.list_namespaced_config_map, NS, resource_version=start, timeout_seconds=30):
        told.append((event["type"], event["object"].metadata.name, event["object"].data["n"]))
        if event["type"] == "DELETED":
            watcher.stop()
    wanted = [("ADDED", "seen", "0")] + [("MODIFIED", "seen", str(n)) for n in range(1, 4)] + [("DELETED", "seen", "3")]
    equal(told, wanted)


def a_watch_resumes_without_gap_or_repetition():
    start = core.list_namespaced_config_map(NS).metadata.resource_version
    names = [f"resume-{n}" for n in range(12)]
    for name in names:
        core.create_namespaced_config_map(NS, config_map(name))
    told, version = [], start
    while len(told) < len(names):
        watcher = watch.Watch()
        for event in watcher.stream(core.list_namespaced_config_map, NS, resource_version=version, timeout_seconds=20):
            told.append(event["object"].metadata.name)
            version = event["object"].metadata.resource_version
            if len(told) % 4 == 0:
                watcher.stop()
    equal(told, names)
    versions = [int(core.read_namespaced_config_map(n, NS).metadata.resource_version) for n in names]
    equal(versions, sorted(set(versions)), "versions grow")


def a_watch_of_the_past_tells_all_of_it_or_that_it_is_gone():
    start = core.list_namespaced_config_map(NS).metadata.resource_version
    core.create_namespaced_config_map(NS, config_map("big"))
    for _ in range(48):
        core.patch_namespaced_config_map("big", NS, {"data": {"noise": base64.b64encode(os.urandom(600_000)).decode()}})
    told = 0
    try:
        watcher = watch.Watch()
        for event in watcher.stream(core.list_namespaced_config_map, NS, field_selector="metadata.name=big", resource_version=start, timeout_seconds=20):
            told += 1
            if told == 49:
                watcher.stop()
        equal(told, 49, "events")
    except ApiException as e:
        equal((e.status, told), (410, 0))
        contains(e.reason, "Expired", "too old resource version")
    core.delete_namespaced_config_map("big", NS)


def a_watch_ends_in_time_and_bookmarks_move_on():
    started = time.monotonic()
    list(watch.Watch().stream(core.list_namespaced_config_map, NS, resource_version="0", timeout_seconds=1))
    if not 0.5 < time.monotonic() - started < 10:
        raise Failed(f"ended after {time.monotonic() - started:.1f} s")
    events = list(watch.Watch().stream(core.list_namespaced_config_map, NS, resource_version="0", timeout_seconds=2, allow_watch_bookmarks=True, resource_version_match="NotOlderThan", send_initial_events=True))
    marks = [n for n, e in enumerate(events) if e["type"] == "BOOKMARK" and (e["raw_object"]["metadata"].get("annotations") or {}).get("k8s.io/initial-events-end") == "true"]
    equal(len(marks), 1, "bookmarks that end the initial events")
    names = {e["object"].metadata.name for e in events[: marks[0]]}
    equal(names, {c.metadata.name for c in core.list_namespaced_config_map(NS).items}, "initial events")


def an_informer_keeps_a_cache_in_step():
    heard, lock = [], threading.Lock()

    def hear(kind):
        def handler(found):
            with lock:
                heard.append((kind, found.metadata.name))
        return handler

    mirror = informer.SharedInformer(core.list_namespaced_config_map, namespace=NS, label_selector="mirror=yes")
    for kind in ("ADDED", "MODIFIED", "DELETED"):
        mirror.add_event_handler(kind, hear(kind))
    core.create_namespaced_config_map(NS, config_map("m0", {"n": "0"}, labels={"mirror": "yes"}))
    mirror.start()
    try:
        eventually(lambda: ("ADDED", "m0") in heard)
        core.create_namespaced_config_map(NS, config_map("m1", {"n": "0"}, labels={"mirror": "yes"}))
        core.patch_namespaced_config_map("m1", NS, {"data": {"n": "1"}})
        core.patch_namespaced_config_map("m0", NS, {"metadata": {"labels": {"mirror": "no"}}})
        eventually(lambda: ("DELETED", "m0") in heard)
        equal({k: o.data["n"] for k, o in ((o.metadata.name, o) for o in mirror.cache.list())}, {"m1": "1"}, "cache")
        core.delete_namespaced_config_map("m1", NS)
        eventually(lambda: ("DELETED", "m1") in heard)
        equal(heard, [("ADDED", "m0"), ("ADDED", "m1"), ("MODIFIED", "m1"), ("DELETED", "m0"), ("DELETED", "m1")])
    finally:
        mirror.stop()


def lists_come_in_pages_of_one_moment():
    for n in range(7):
        core.create_namespaced_config_map(NS, config_map(f"page-{n}", labels={"page": "yes"}))
    names, versions, token = [], set(), None
    while True:
        part = core.list_namespaced_config_map(NS, label_selector="page=yes", limit=3, _continue=token)
        names += [c.metadata.name for c in part.items]
        versions.add(part.metadata.resource_version)
        token = part.metadata._continue
        if not token:
            break
        core.create_namespaced_config_map(NS, config_map(f"page-zz-{len(names)}", labels={"page": "yes"}))
    equal(names, [f"page-{n}" for n in range(7)], "what came later is not in it")
    equal(len(versions), 1, "versions of the pages")
    part = core.list_namespaced_config_map(NS, limit=1)
    equal(part.metadata.remaining_item_count, len(core.list_namespaced_config_map(NS).items) - 1, "remaining")
    refused(400, core.list_namespaced_config_map, NS, _continue="nonsense")


def selectors_choose():
    names = lambda **kw: [c.metadata.name for c in core.list_namespaced_config_map(NS, **kw).items]
    equal(names(label_selector="page in (yes,no),x!=y", field_selector="metadata.name=page-1"), ["page-1"])
    equal(names(label_selector="x"), ["plain"] if "plain" in names(label_selector="x=y") else [])
    refused(400, core.list_namespaced_config_map, NS, label_selector="a b c")
    refused(400, core.list_namespaced_config_map, NS, field_selector="data.a=1")
    running = core.list_namespaced_pod(NS, field_selector="status.phase=Running,spec.schedulerName=default-scheduler").items
    equal({p.status.phase for p in running}, {"Running"})


def options_of_deletion_are_kept():
    found = core.create_namespaced_config_map(NS, config_map("bound"))
    wrong = client.V1DeleteOptions(preconditions=client.V1Preconditions(uid="00000000-0000-0000-0000-000000000000"))
    refused(409, core.delete_namespaced_config_map, "bound", NS, body=wrong, says="the UID in the precondition (00000000-0000-0000-0000-000000000000) does not match the UID in record")
    right = client.V1DeleteOptions(preconditions=client.V1Preconditions(uid=found.metadata.uid, resource_version=found.metadata.resource_version))
    equal(core.delete_namespaced_config_map("bound", NS, body=right).status, "Success")
    core.delete_collection_namespaced_config_map(NS, label_selector="page=yes")
    equal(core.list_namespaced_config_map(NS, label_selector="page=yes").items, [], "after the collection went")
    apps.create_namespaced_deployment(NS, deployment("brief", 2))
    available("brief", 2)
    apps.delete_namespaced_deployment("brief", NS, propagation_policy="Orphan")
    eventually(lambda: all(d.metadata.name != "brief" for d in apps.list_namespaced_deployment(NS).items))
    left, = apps.list_namespaced_replica_set(NS, label_selector="app=brief").items
    equal(left.metadata.owner_references, None, "owners of the orphan")
    apps.delete_namespaced_replica_set(left.metadata.name, NS, body=client.V1DeleteOptions(propagation_policy="Foreground"))
    eventually(lambda: not core.list_namespaced_pod(NS, label_selector="app=brief").items and not apps.list_namespaced_replica_set(NS, label_selector="app=brief").items)
    pod = live("app=web")[0]
    core.delete_namespaced_pod(pod.metadata.name, NS, grace_period_seconds=0)
    eventually(lambda: pod.metadata.uid not in {p.metadata.uid for p in core.list_namespaced_pod(NS).items})
    available("web", 2)


def finalizers_hold_a_deletion():
    core.create_namespaced_config_map(NS, config_map("held", finalizers=["example.com/hold"]))
    core.delete_namespaced_config_map("held", NS)
    if not core.read_namespaced_config_map("held", NS).metadata.deletion_timestamp:
        raise Failed("not terminating")
    core.patch_namespaced_config_map("held", NS, [{"op": "remove", "path": "/metadata/finalizers"}])
    refused(404, core.read_namespaced_config_map, "held", NS)


def scale_is_a_subresource():
    equal(apps.read_namespaced_deployment_scale("web", NS).spec.replicas, 2)
    equal(apps.patch_namespaced_deployment_scale("web", NS, {"spec": {"replicas": 3}}).kind, "Scale")
    available("web", 3)
    found = apps.read_namespaced_deployment_scale("web", NS)
    equal((found.status.replicas, found.status.selector), (3, "app=web"))


def evictions_ask_the_budget():
    budget = client.V1PodDisruptionBudgetSpec(min_available=3, selector=client.V1LabelSelector(match_labels={"app": "web"}))
    policy.create_namespaced_pod_disruption_budget(NS, client.V1PodDisruptionBudget(metadata=client.V1ObjectMeta(name="web"), spec=budget))
    eventually(lambda: (policy.read_namespaced_pod_disruption_budget("web", NS).status or client.V1PodDisruptionBudgetStatus(current_healthy=0, desired_healthy=0, disruptions_allowed=0, expected_pods=0)).current_healthy == 3)
    pod = live("app=web")[0]
    eviction = client.V1Eviction(metadata=client.V1ObjectMeta(name=pod.metadata.name), delete_options=client.V1DeleteOptions(grace_period_seconds=1))
    found = refused(429, core.create_namespaced_pod_eviction, pod.metadata.name, NS, eviction, says="disruption budget")
    equal(found["details"]["causes"][0]["reason"], "DisruptionBudget")
    policy.patch_namespaced_pod_disruption_budget("web", NS, {"spec": {"minAvailable": 2}})
    eventually(lambda: policy.read_namespaced_pod_disruption_budget("web", NS).status.disruptions_allowed == 1)
    core.create_namespaced_pod_eviction(pod.metadata.name, NS, eviction)
    eventually(lambda: pod.metadata.uid not in {p.metadata.uid for p in live("app=web")})
    policy.delete_namespaced_pod_disruption_budget("web", NS)
    available("web", 3)


def logs_come_from_the_node():
    available("web", 3)
    pod = eventually(lambda: [p for p in live("app=web") if p.status.phase == "Running"])[0]
    node = core.read_node(pod.spec.node_name)
    ours = "knarr" in client.VersionApi().get_code().git_version
    if "knarr.dev/sim-owner" in (node.metadata.annotations or {}) and not ours:
        # A foreign server cannot know that nobody listens there.
        try:
            core.read_namespaced_pod_log(pod.metadata.name, NS)
        except ApiException as e:
            contains(str(e.body), pod.spec.node_name)
    else:
        equal(isinstance(core.read_namespaced_pod_log(pod.metadata.name, NS, tail_lines=5), str), True, "text")
    refused(400, core.read_namespaced_pod_log, pod.metadata.name, NS, container="absent", says="container absent is not valid for pod")


def tokens_and_reviews():
    core.create_namespaced_service_account(NS, client.V1ServiceAccount(metadata=client.V1ObjectMeta(name="robot")))
    spec = client.V1TokenRequestSpec(audiences=[], expiration_seconds=3600)
    token = core.create_namespaced_service_account_token("robot", NS, client.AuthenticationV1TokenRequest(spec=spec)).status.token
    configuration = client.Configuration.get_default_copy()
    configuration.api_key = {"BearerToken": f"Bearer {token}", "authorization": f"Bearer {token}"}
    configuration.cert_file = configuration.key_file = configuration.refresh_api_key_hook = None
    robot = client.ApiClient(configuration)
    refused(403, client.CoreV1Api(robot).list_namespaced_secret, NS, says=f"system:serviceaccount:{NS}:robot")
    review = client.AuthenticationV1Api(robot).create_self_subject_review(client.V1SelfSubjectReview())
    equal(review.status.user_info.username, f"system:serviceaccount:{NS}:robot")
    roles = client.RbacAuthorizationV1Api()
    roles.create_namespaced_role(NS, client.V1Role(metadata=client.V1ObjectMeta(name="reader"), rules=[client.V1PolicyRule(api_groups=[""], resources=["secrets"], verbs=["list"])]))
    subject = client.RbacV1Subject(kind="ServiceAccount", name="robot", namespace=NS)
    roles.create_namespaced_role_binding(NS, client.V1RoleBinding(metadata=client.V1ObjectMeta(name="reader"), subjects=[subject], role_ref=client.V1RoleRef(api_group="rbac.authorization.k8s.io", kind="Role", name="reader")))
    allowed = lambda verb: client.AuthorizationV1Api(robot).create_self_subject_access_review(client.V1SelfSubjectAccessReview(spec=client.V1SelfSubjectAccessReviewSpec(resource_attributes=client.V1ResourceAttributes(namespace=NS, verb=verb, resource="secrets")))).status.allowed
    eventually(lambda: allowed("list"))
    equal(allowed("delete"), False)
    equal("s" in [x.metadata.name for x in client.CoreV1Api(robot).list_namespaced_secret(NS).items], True)


def leases_and_events_are_kept():
    now = datetime.datetime.now(datetime.timezone.utc)
    leases = client.CoordinationV1Api()
    lease = client.V1Lease(metadata=client.V1ObjectMeta(name="l"), spec=client.V1LeaseSpec(holder_identity="me", lease_duration_seconds=15, acquire_time=now, renew_time=now))
    found = leases.create_namespaced_lease(NS, lease)
    equal(found.spec.renew_time, now, "microseconds")
    found.spec.renew_time = now + datetime.timedelta(seconds=2)
    equal(leases.replace_namespaced_lease("l", NS, found).spec.renew_time - now, datetime.timedelta(seconds=2))
    pod = live("app=web")[0]
    about = client.V1ObjectReference(api_version="v1", kind="Pod", name=pod.metadata.name, namespace=NS, uid=pod.metadata.uid)
    core.create_namespaced_event(NS, client.CoreV1Event(
        metadata=client.V1ObjectMeta(generate_name="e-"), involved_object=about, reason="Checked", message="looked at", type="Normal",
        event_time=now, action="Look", reporting_component="conformance.example/python", reporting_instance="one",
    ))
    found, = core.list_namespaced_event(NS, field_selector=f"involvedObject.uid={pod.metadata.uid},reason=Checked").items
    equal(found.message, "looked at")
    new = client.EventsV1Api().read_namespaced_event(found.metadata.name, NS)
    equal((new.note, new.regarding.name, new.event_time), ("looked at", pod.metadata.name, now), "the same event in its own group")


def definition():
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object", "required": ["sail"],
                "x-kubernetes-validations": [{"rule": "self.crew <= 40", "message": "too many on board"}],
                "properties": {"crew": {"type": "integer", "minimum": 1, "default": 3}, "sail": {"type": "string"}},
            },
            "status": {"type": "object", "properties": {"crew": {"type": "integer"}, "phase": {"type": "string"}}},
        },
    }
    version = client.V1CustomResourceDefinitionVersion(
        name="v1", served=True, storage=True, schema=client.V1CustomResourceValidation(open_apiv3_schema=schema),
        subresources=client.V1CustomResourceSubresources(status={}, scale=client.V1CustomResourceSubresourceScale(spec_replicas_path=".spec.crew", status_replicas_path=".status.crew")),
        additional_printer_columns=[client.V1CustomResourceColumnDefinition(name="Crew", type="integer", json_path=".spec.crew")],
    )
    names = client.V1CustomResourceDefinitionNames(kind="Ship", plural="ships", singular="ship", short_names=["pysh"])
    return client.V1CustomResourceDefinition(
        metadata=client.V1ObjectMeta(name=f"ships.{GROUP}"),
        spec=client.V1CustomResourceDefinitionSpec(group=GROUP, scope="Namespaced", names=names, versions=[version]),
    )


SHIPS = (GROUP, "v1", NS, "ships")


def ship(name, **spec):
    return {"apiVersion": f"{GROUP}/v1", "kind": "Ship", "metadata": {"name": name}, "spec": {"sail": "red", **spec}}


def established():
    found = definitions.read_custom_resource_definition(f"ships.{GROUP}")
    return any(c.type == "Established" and c.status == "True" for c in found.status.conditions or [])


def custom_objects_live_by_their_definition():
    definitions.create_custom_resource_definition(definition())
    eventually(established)
    found = eventually(lambda: custom.create_namespaced_custom_object(*SHIPS, ship("knarr")))
    equal(found["spec"], {"sail": "red", "crew": 3}, "defaulted")
    refused(422, custom.create_namespaced_custom_object, *SHIPS, ship("full", crew=41), says="too many on board")
    refused(422, custom.create_namespaced_custom_object, *SHIPS, ship("empty", crew=0), says="spec.crew")
    found = custom.patch_namespaced_custom_object(*SHIPS, "knarr", {"spec": {"crew": 5}})
    equal((found["spec"]["crew"], found["metadata"]["generation"]), (5, 2))
    found = custom.patch_namespaced_custom_object_status(*SHIPS, "knarr", {"status": {"crew": 4, "phase": "At sea"}, "spec": {"crew": 9}})
    equal((found["spec"]["crew"], found["status"]["crew"], found["metadata"]["generation"]), (5, 4, 2), "through the door of the status")
    equal(custom.get_namespaced_custom_object_scale(*SHIPS, "knarr")["status"]["replicas"], 4)
    custom.patch_namespaced_custom_object_scale(*SHIPS, "knarr", {"spec": {"replicas": 7}})
    found = custom.get_namespaced_custom_object(*SHIPS, "knarr")
    found["spec"]["sail"] = "white"
    equal(custom.replace_namespaced_custom_object(*SHIPS, "knarr", found)["spec"], {"sail": "white", "crew": 7})
    equal([s["metadata"]["name"] for s in custom.list_cluster_custom_object(GROUP, "v1", "ships")["items"]], ["knarr"])


def custom_objects_are_watched():
    start = custom.list_namespaced_custom_object(*SHIPS)["metadata"]["resourceVersion"]
    custom.create_namespaced_custom_object(*SHIPS, ship("skiff"))
    custom.patch_namespaced_custom_object(*SHIPS, "skiff", {"spec": {"crew": 2}})
    custom.delete_namespaced_custom_object(*SHIPS, "skiff")
    told, watcher = [], watch.Watch()
    for event in watcher.stream(custom.list_namespaced_custom_object, *SHIPS, resource_version=start, timeout_seconds=20):
        told.append((event["type"], event["object"]["spec"]["crew"]))
        if event["type"] == "DELETED":
            watcher.stop()
    equal(told, [("ADDED", 3), ("MODIFIED", 2), ("DELETED", 2)])


def the_dynamic_client_finds_kinds_by_discovery():
    def find():
        cluster = dynamic.DynamicClient(client.ApiClient())
        return cluster, cluster.resources.get(api_version=f"{GROUP}/v1", kind="Ship")
    try:
        cluster, ships = find()
    except dynamic.exceptions.ResourceNotFoundError as e:
        raise Failed(f"{e}")
    equal((ships.name, ships.namespaced, ships.short_names), ("ships", True, ["pysh"]))
    made = ships.create(body=ship("drakkar"), namespace=NS)
    equal(made.spec.crew, 3)
    found = ships.patch(body={"spec": {"crew": 6}}, name="drakkar", namespace=NS, content_type="application/merge-patch+json")
    equal(found.spec.crew, 6)
    refused(415, ships.patch, body={"spec": {"crew": 6}}, name="drakkar", namespace=NS)
    found = ships.server_side_apply(body=ship("drakkar", crew=8), namespace=NS, field_manager="captain", force_conflicts=True)
    equal(found.spec.crew, 8)
    found = ships.status.patch(body={"status": {"phase": "Docked"}}, name="drakkar", namespace=NS, content_type="application/merge-patch+json")
    equal(found.status.phase, "Docked")
    kinds = [(e["type"], e["object"].metadata.name) for e in ships.watch(namespace=NS, name="drakkar", timeout=1)]
    equal(kinds, [("ADDED", "drakkar")])
    ships.delete(name="drakkar", namespace=NS)
    deployments = cluster.resources.get(api_version="apps/v1", kind="Deployment")
    equal(deployments.get(name="web", namespace=NS).status.availableReplicas, 3)
    maps = cluster.resources.get(api_version="v1", kind="ConfigMap")
    equal(maps.server_side_apply(body={"metadata": {"name": "dyn"}, "apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "1"}}, namespace=NS, field_manager="dyn").data.a, "1")


def a_definition_takes_its_objects_along():
    definitions.delete_custom_resource_definition(f"ships.{GROUP}")
    eventually(lambda: all(d.metadata.name != f"ships.{GROUP}" for d in definitions.list_custom_resource_definition().items))
    try:
        eventually(lambda: custom.list_namespaced_custom_object(*SHIPS) and None, seconds=10)
    except ApiException as e:
        equal(e.status, 404)


def files_of_several_documents_are_created():
    documents = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "file"}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "file"}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}},
        {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "file"}, "spec": {"schedule": "0 3 * * *", "suspend": True, "jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "registry.example/job:1"}]}}}}}},
    ]
    for document in documents:
        utils.create_from_dict(client.ApiClient(), document, namespace=NS)
    if not core.read_namespaced_service("file", NS).spec.cluster_ip:
        raise Failed("no address")
    equal(client.BatchV1Api().read_namespaced_cron_job("file", NS).spec.concurrency_policy, "Allow")
    try:
        utils.create_from_dict(client.ApiClient(), documents[0], namespace=NS)
    except utils.FailToCreateError as e:
        contains(str(e), "Conflict")
    else:
        raise Failed("created twice")


def the_asynchronous_client_lists_and_watches():
    async def work():
        await aio_config.load_kube_config()
        async with aio_client.ApiClient() as api:
            maps = aio_client.CoreV1Api(api)
            start = (await maps.list_namespaced_config_map(NS)).metadata.resource_version
            await maps.create_namespaced_config_map(NS, {"metadata": {"name": "later"}, "data": {"a": "1"}})
            await maps.delete_namespaced_config_map("later", NS)
            told = []
            answer = await maps.list_namespaced_config_map(NS, resource_version=start, timeout_seconds=20, watch=True, _preload_content=False)
            while ("DELETED", "later") not in told:
                event = json.loads(await answer.content.readline())
                told.append((event["type"], event["object"]["metadata"]["name"]))
            answer.close()
            return told
    equal(asyncio.run(asyncio.wait_for(work(), 60)), [("ADDED", "later"), ("DELETED", "later")])


CASES = [
    created_objects_come_back_as_models, refusals_are_statuses_with_reason_and_details, json_patches_are_lists_of_steps,
    merge_patches_remove_with_null_and_replace_lists, strategic_patches_merge_lists_by_their_keys, apply_shares_an_object_among_managers,
    a_stale_replacement_is_refused, a_dry_run_answers_and_stores_nothing, unknown_fields_are_refused_or_warned_of,
    a_watch_tells_changes_in_order, a_watch_resumes_without_gap_or_repetition, a_watch_of_the_past_tells_all_of_it_or_that_it_is_gone,
    a_watch_ends_in_time_and_bookmarks_move_on, an_informer_keeps_a_cache_in_step, lists_come_in_pages_of_one_moment, selectors_choose,
    options_of_deletion_are_kept, finalizers_hold_a_deletion, scale_is_a_subresource, evictions_ask_the_budget, logs_come_from_the_node,
    tokens_and_reviews, leases_and_events_are_kept, custom_objects_live_by_their_definition, custom_objects_are_watched,
    the_dynamic_client_finds_kinds_by_discovery, a_definition_takes_its_objects_along, files_of_several_documents_are_created,
    the_asynchronous_client_lists_and_watches,
]

if __name__ == "__main__":
    main(CASES, NS, failures=(ApiException, DynamicApiError, asyncio.TimeoutError))
