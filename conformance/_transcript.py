"""Recorded requests and answers of a Kubernetes API server: reading them, making answers comparable, comparing them.

The format and what must be equal are described by the README beside the recordings. An answer is made comparable in two
passes over a whole case, because the place of a version among all versions of an object is known only at its end.
Python's standard library only.
"""

import datetime
import glob
import gzip
import hashlib
import json
import os
import re

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
TOKEN = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*")
MOUNT = re.compile(r"kube-api-access-[a-z0-9]{5}\b")
VERSION = re.compile(r'resourceVersion: "\d+"')
AGE = re.compile(r"<unknown>|<invalid>|(\d+(y|d|h|m|s))+")
MEDIA_PARAMETERS = ("as", "v", "g", "stream")
TWO_DAYS = datetime.timedelta(days=2)


def cases(folder, only=""):
    """(theme, name, steps) of every recorded case, in the order of the files."""
    for path in sorted(glob.glob(os.path.join(folder, "*.jsonl*"))):
        theme = os.path.basename(path).split(".")[0]
        opened = gzip.open if path.endswith(".gz") else open
        with opened(path, "rt", encoding="utf-8") as lines:
            steps = [json.loads(line) for line in lines if line.strip()]
        grouped = {}
        for step in steps:
            grouped.setdefault(step["case"], []).append(step)
        for name, own in grouped.items():
            if only in name:
                yield theme, name, own


def suffix(case):
    """What makes the names of a case its own."""
    return hashlib.sha1(case.encode()).hexdigest()[:10]


def at(value, pointer):
    """The value at `a/b/0/key=val/c`; None where the path leads nowhere."""
    for step in pointer.split("/"):
        step = step.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and "=" in step:
            key, wanted = step.split("=", 1)
            value = next((i for i in value if isinstance(i, dict) and str(i.get(key)) == wanted), None)
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value


def selected(body, pointers):
    """The parts of a body that are compared, by their pointer."""
    out = {}
    for pointer in pointers:
        path, _, how = pointer.partition(":")
        value = at(body, path) if path else body
        if how == "keys":
            value = sorted(value) if isinstance(value, dict) else None
        elif how.startswith(("each=", "set=")):
            field = how.split("=", 1)[1].replace(".", "/")
            value = [at(i, field) for i in value] if isinstance(value, list) else []
            if how.startswith("set="):
                value = sorted(value, key=lambda v: json.dumps(v, sort_keys=True))
        out[pointer] = value
    return out


def fill(value, variables, shape=str):
    """Puts variables in the place of `<name>`; a text that is nothing else takes the variable as it is."""
    if isinstance(value, dict):
        return {fill(k, variables): fill(v, variables, shape) for k, v in value.items()}
    if isinstance(value, list):
        return [fill(v, variables, shape) for v in value]
    if not isinstance(value, str):
        return value
    for name, known in variables.items():
        if value == f"<{name}>":
            return known if shape is str else shape(known)
        value = value.replace(f"<{name}>", shape(str(known)))
    return value


def texts(value):
    """Every text of a tree, in sorted order of keys."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key in sorted(value):
            yield key
            yield from texts(value[key])
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


def objects(value):
    """Every map of a tree, in sorted order of keys, the outer before the inner."""
    if isinstance(value, dict):
        yield value
        for key in sorted(value):
            yield from objects(value[key])
    elif isinstance(value, list):
        for item in value:
            yield from objects(item)


class Normal:
    """What stands for the values that differ from one run to the next, for one case."""

    def __init__(self, variables, requests, now):
        self.now = now
        self.asked = json.dumps(requests)
        # Longest first: the namespace contains the suffix.
        names = (("<ns>", variables["ns"]), ("<sfx>", variables["sfx"]))
        self.words = {known: placeholder for placeholder, known in names}
        self.uids, self.versions, self.ports, self.generated, self.ips = {}, {}, {}, {}, {}

    def see(self, answer):
        """First pass: what there is."""
        for text in texts(answer):
            for uid in UUID.findall(text):
                if uid not in self.asked:
                    self.uids.setdefault(uid, f"<uid-{len(self.uids) + 1}>")
        for one in objects(answer):
            metadata = one.get("metadata")
            if isinstance(metadata, dict):
                self.see_metadata(metadata)
            spec = one.get("spec")
            if isinstance(spec, dict):
                self.see_addresses(spec)

    def see_metadata(self, metadata):
        uid, version = metadata.get("uid"), metadata.get("resourceVersion")
        if uid and version and str(version).isdigit():
            self.versions.setdefault(uid, set()).add(int(version))
        prefix, name = metadata.get("generateName"), metadata.get("name")
        if prefix and name and name.startswith(prefix) and name not in self.generated and name not in self.asked:
            self.generated[name] = f"{prefix}<gen-{len(self.generated) + 1}>"

    def see_addresses(self, spec):
        ips = [spec.get("clusterIP"), *(spec.get("clusterIPs") or [])]
        for ip in ips:
            if isinstance(ip, str) and ip not in ("", "None") and f'"{ip}"' not in self.asked:
                self.ips.setdefault(ip, f"<clusterIP-{len(self.ips) + 1}>")
        ports = [p.get("nodePort") for p in spec.get("ports") or [] if isinstance(p, dict)]
        for port in [*ports, spec.get("healthCheckNodePort")]:
            if isinstance(port, int) and port > 0 and not re.search(rf"\b{port}\b", self.asked):
                self.ports.setdefault(port, f"<nodePort-{len(self.ports) + 1}>")

    def tree(self, value, key=""):
        """Second pass: the comparable form."""
        if isinstance(value, dict):
            own = {self.text(k): self.tree(v, k) for k, v in value.items()}
            metadata, was = own.get("metadata"), value.get("metadata")
            if isinstance(metadata, dict) and isinstance(was, dict):
                self.metadata(metadata, was)
            return own
        if isinstance(value, list):
            return [self.tree(v, key) for v in value]
        if isinstance(value, str):
            return self.text(value)
        if key in ("nodePort", "healthCheckNodePort"):
            return self.ports.get(value, value)
        return value

    def metadata(self, own, was):
        version = str(was.get("resourceVersion", ""))
        if version:
            known = sorted(self.versions.get(was.get("uid"), ()))
            is_ranked = version.isdigit() and int(version) in known
            own["resourceVersion"] = f"<rv-{known.index(int(version)) + 1}>" if is_ranked else "<rv>"
        if was.get("continue"):
            own["continue"] = "<continue>"

    def text(self, text):
        # An object that was answered as YAML.
        text = VERSION.sub('resourceVersion: "<rv>"', text)
        for table in (self.generated, self.ips, self.words):
            for known, placeholder in table.items():
                text = text.replace(known, placeholder)
        text = UUID.sub(lambda m: self.uids.get(m.group(), m.group()), text)
        text = TOKEN.sub("<token>", MOUNT.sub("kube-api-access-<gen>", text))
        for port, placeholder in self.ports.items():
            text = re.sub(rf":{port}\b", f":{placeholder}", text)
        return MOMENT.sub(self.moment, text)

    def moment(self, match):
        whole = datetime.datetime.fromisoformat(match.group().split(".")[0].rstrip("Z"))
        if abs(whole - self.now) > TWO_DAYS:
            return match.group()
        return "<microtime>" if match.group(1) else "<time>"


def media(value):
    """A media type with the parameters that count."""
    kind, *parameters = [p.strip() for p in (value or "").split(";")]
    kept = sorted(p for p in parameters if p.split("=")[0] in MEDIA_PARAMETERS)
    return ";".join([kind, *kept])


def plain(value, prose, above=""):
    """A tree without what may differ: words for people, the order of owners and causes."""
    if isinstance(value, list):
        items = [plain(v, prose, above) for v in value]
        if above in ("managedFields", "causes"):
            items.sort(key=lambda v: json.dumps(v, sort_keys=True))
        return items
    if not isinstance(value, dict):
        return value
    out = {k: plain(v, prose, k) for k, v in value.items()}
    if prose:
        return out
    is_status = value.get("kind") == "Status"
    if is_status or above in ("causes", "conditions"):
        out.pop("message", None)
    if above == "columnDefinitions":
        out.pop("description", None)
    return out


def differences(wanted, found, path="body"):
    """Where two comparable trees differ, in words."""
    if wanted == "<age>" and isinstance(found, str) and AGE.fullmatch(found):
        return
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key in sorted(set(wanted) | set(found)):
            if key not in found:
                yield f"{path}/{key}: wanted {brief(wanted[key])}, found nothing"
            elif key not in wanted:
                yield f"{path}/{key}: not wanted, found {brief(found[key])}"
            else:
                yield from differences(wanted[key], found[key], f"{path}/{key}")
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for i, (a, b) in enumerate(zip(wanted, found)):
            yield from differences(a, b, f"{path}/{i}")
    elif isinstance(wanted, str) and isinstance(found, str) and "\n" in wanted:
        for i, (a, b) in enumerate(zip((wanted + "\n<end>").split("\n"), (found + "\n<end>").split("\n"))):
            if a != b:
                yield f"{path}, line {i + 1}: wanted {brief(a)}, found {brief(b)}"
    elif wanted != found or type(wanted) is not type(found):
        yield f"{path}: wanted {brief(wanted)}, found {brief(found)}"


def brief(value):
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 160 else text[:160] + "…"


def compared(step, answer, prose=False):
    """Every way in which a comparable answer differs from the recorded one."""
    wanted = step["response"]
    out = []
    if wanted["status"] != answer["status"]:
        body = answer["body"]
        why = body.get("message", "") if isinstance(body, dict) else str(body)
        return [f"status: wanted {wanted['status']}, found {answer['status']} ({brief(why)})"]
    headers, own = wanted.get("headers", {}), answer["headers"]
    if media(headers.get("content-type")) != media(own.get("content-type")):
        out.append(f"content-type: wanted {headers.get('content-type')}, found {own.get('content-type')}")
    warnings, given = headers.get("warning") or [], own.get("warning") or []
    if len(warnings) != len(given) or prose and warnings != given:
        out.append(f"warnings: wanted {brief(warnings)}, found {brief(given)}")
    if headers.get("retry-after") != own.get("retry-after"):
        out.append(f"retry-after: wanted {headers.get('retry-after')}, found {own.get('retry-after')}")
    if not step.get("omit"):
        out.extend(differences(plain(wanted.get("body"), prose), plain(answer["body"], prose)))
    return out
