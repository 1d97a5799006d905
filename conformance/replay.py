"""Recorded answers of a kube-apiserver, asked for again. Most steps must be equal: 97 % of all, 90 % of each theme.

Runs when the data folder has recordings (`kubernetes/transcripts`). Starts a server of its own on an empty directory, without
controllers, because the recordings know none: `KNARR` names the program (default: target/release/knarr, then target/debug/knarr).
Alone: `python3 conformance/replay.py [--data DIR] [--case PART] [--prose] [--show N]`, or against a server that runs already with
`--server URL --ca FILE --token ADMIN` (a user of system:masters; everybody else is impersonated). What is known to differ stands
with its reason in replay-known.txt.
"""

import argparse
import base64
import datetime
import http.client
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.parse

import _transcript as transcript

ALL_MIN, THEME_MIN = 0.97, 0.90
UNTIL_SECONDS = 20
WATCH_SECONDS = 30
HERE = os.path.dirname(os.path.abspath(__file__))
KNOWN = os.path.join(HERE, "replay-known.txt")
# How many differences of one step are told.
TOLD = 3


class Door:
    """Connections to the server, one for each way to say who asks."""

    def __init__(self, server, ca, token, viewer):
        self.url = urllib.parse.urlsplit(server)
        self.context = ssl.create_default_context(cafile=ca) if self.url.scheme == "https" else None
        self.viewer = {"Authorization": f"Bearer {viewer}"} if viewer else {
            "Authorization": f"Bearer {token}",
            "Impersonate-User": "viewer",
            "Impersonate-Group": "viewers",
            "Impersonate-Uid": "viewer-uid",
        }
        self.who = {
            "admin": {"Authorization": f"Bearer {token}"},
            "viewer": self.viewer,
            "none": {},
            "bad": {"Authorization": "Bearer wrong"},
        }
        self.kept = None

    def connect(self, timeout=60):
        host, port = self.url.hostname, self.url.port
        if self.context:
            return http.client.HTTPSConnection(host, port, timeout=timeout, context=self.context)
        return http.client.HTTPConnection(host, port, timeout=timeout)

    def send(self, connection, request):
        # What is recorded may hold characters that a target cannot.
        query = urllib.parse.quote(request.get("query", ""), safe="%=&+,/:;!()*@$'?~")
        target = request["path"] + (f"?{query}" if query else "")
        headers = {"User-Agent": "transcript/1.0", **self.who[request.get("as", "admin")], **request.get("headers", {})}
        body = None
        if "raw" in request:
            body = request["raw"].replace("@@", "x" * request.get("repeat", 0)).encode()
        elif "body" in request:
            body = json.dumps(request["body"]).encode()
        connection.request(request["method"], target, body=body, headers=headers)
        return connection.getresponse()

    def ask(self, request):
        """One answer: status, headers, body."""
        for attempt in (1, 2):
            self.kept = self.kept or self.connect()
            try:
                response = self.send(self.kept, request)
                return answered(response, response.read())
            except (OSError, http.client.HTTPException):
                self.kept.close()
                self.kept = None
                if attempt == 2:
                    raise

    def watch(self, request, seconds):
        return Watch(self, request, seconds)


def headers_of(response):
    warnings, wait = response.headers.get_all("warning"), response.getheader("retry-after")
    found = (("content-type", response.getheader("content-type")), ("warning", warnings), ("retry-after", wait))
    return {name: value for name, value in found if value}


def answered(response, raw):
    headers = headers_of(response)
    return {"status": response.status, "headers": headers, "body": body_of(raw, headers.get("content-type", ""))}


def body_of(raw, media):
    if media.startswith("application/vnd.kubernetes.protobuf") and raw.startswith(b"k8s\0"):
        return {"<protobuf>": True}
    text = raw.decode("utf-8", "replace")
    if "json" in media:
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


class Watch:
    """A watch that is read event by event."""

    def __init__(self, door, request, seconds):
        self.connection = door.connect(seconds)
        self.response = door.send(self.connection, request)

    def events(self, count):
        out = []
        while len(out) < count:
            try:
                line = self.response.readline()
            except (TimeoutError, OSError):
                break
            if not line:
                break
            if not line.strip():
                continue
            event = json.loads(line)
            notes = event.get("object", {}).get("metadata", {}).get("annotations", {})
            if event.get("type") != "BOOKMARK" or notes.get("k8s.io/initial-events-end"):
                out.append(event)
        return out

    def close(self):
        self.connection.close()


class Case:
    """One case against the server: its variables, what it made, its raw answers."""

    def __init__(self, door, name, steps):
        self.door, self.steps = door, steps
        sfx = transcript.suffix(name)
        self.variables = {"ns": f"tr-{sfx}", "sfx": sfx}
        self.watches, self.made = {}, []

    def run(self):
        """The comparable answer of each step."""
        self.prepare()
        answers = []
        try:
            for step in self.steps:
                request = self.request(step)
                time.sleep(step.get("wait", 0))
                answers.append(self.answer(step, request))
        finally:
            self.clean()
        for step, answer in zip(self.steps, answers):
            if "select" in step:
                answer["body"] = transcript.selected(answer["body"], step["select"])
        now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
        normal = transcript.Normal(self.variables, [step["request"] for step in self.steps], now)
        for answer in answers:
            normal.see(answer["body"])
        for answer in answers:
            answer["body"] = normal.tree(answer["body"])
        return answers

    def request(self, step):
        asked = dict(step["request"])
        quoted = lambda text: urllib.parse.quote(text, safe="")
        for key in ("path", "query"):
            if key in asked:
                asked[key] = transcript.fill(asked[key], self.variables, quoted)
        for key in ("body", "raw", "headers"):
            if key in asked:
                asked[key] = transcript.fill(asked[key], self.variables)
        return asked

    def answer(self, step, request):
        try:
            if "watch" in step:
                return self.watch(step["watch"], request)
            answer = self.until(step.get("until"), request)
        except (OSError, http.client.HTTPException) as error:
            return {"status": 0, "headers": {}, "body": f"no answer: {error}"}
        for name, pointer in step.get("capture", {}).items():
            self.variables[name] = transcript.at(answer["body"], pointer)
        self.note(request, answer)
        return answer

    def until(self, condition, request):
        end = time.monotonic() + UNTIL_SECONDS
        while True:
            answer = self.door.ask(request)
            if condition is None or time.monotonic() > end or self.holds(condition, answer):
                return answer
            time.sleep(0.1)

    def holds(self, condition, answer):
        if "status" in condition:
            return answer["status"] == condition["status"]
        wanted = transcript.fill(condition["equals"], self.variables)
        return transcript.at(answer["body"], condition["path"]) == wanted

    def watch(self, how, request):
        if "read" in how:
            watch = self.watches[how["read"]]
            # The headers came with the step that opened it.
            return {**self.told(watch, watch.events(how["events"])), "headers": {}}
        watch = self.door.watch(request, how.get("seconds", WATCH_SECONDS))
        if "open" in how:
            self.watches[how["open"]] = watch
            return self.told(watch, [])
        if watch.response.status != 200:
            return answered(watch.response, watch.response.read())
        events = watch.events(how.get("events", 1))
        watch.close()
        return self.told(watch, events)

    def told(self, watch, events):
        told = {"status": watch.response.status, "headers": headers_of(watch.response)}
        return {**told, "body": {"events": events}}

    def prepare(self):
        ns = self.variables["ns"]
        self.door.ask(post("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ns}}))
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
        account["automountServiceAccountToken"] = False
        self.door.ask(post(f"/api/v1/namespaces/{ns}/serviceaccounts", account))

    def note(self, request, answer):
        """Remembers what a step made, so that it can be removed."""
        body = answer["body"]
        if answer["status"] != 201 or not isinstance(body, dict) or "dryRun" in request.get("query", ""):
            return
        name = body.get("metadata", {}).get("name") if isinstance(body.get("metadata"), dict) else None
        if name and body.get("kind") != "Status":
            path = request["path"].rstrip("/")
            self.made.append(f"{path}/{name}" if request["method"] == "POST" else path)

    def clean(self):
        for watch in self.watches.values():
            watch.close()
        for path in [*reversed(self.made), f"/api/v1/namespaces/{self.variables['ns']}"]:
            self.remove(path)

    def remove(self, path):
        try:
            gone = self.door.ask({"method": "DELETE", "path": path, "query": "gracePeriodSeconds=0"})
            if gone["status"] not in (200, 202):
                return
            free = {"Content-Type": "application/merge-patch+json"}
            no_finalizers = {"metadata": {"finalizers": None}}
            self.door.ask({"method": "PATCH", "path": path, "headers": free, "body": no_finalizers})
            if path.startswith("/api/v1/namespaces/") and path.count("/") == 4:
                name = path.rsplit("/", 1)[1]
                body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}, "spec": {"finalizers": []}}
                self.door.ask({"method": "PUT", "path": f"{path}/finalize", "body": body, "headers": JSON})
        except (OSError, http.client.HTTPException):
            pass


JSON = {"Content-Type": "application/json"}


def post(path, body):
    return {"method": "POST", "path": path, "body": body, "headers": JSON}


def known():
    """Differences with their reasons: `CASE#STEP  reason`; `CASE#*` means every step."""
    out = {}
    if os.path.exists(KNOWN):
        for line in open(KNOWN, encoding="utf-8"):
            if line.strip() and not line.startswith("#"):
                what, reason = line.split(None, 1)
                out[what] = reason.strip()
    return out


class Tally:
    """Equal and all steps, by theme."""

    def __init__(self):
        self.themes, self.unknown, self.listed = {}, [], 0

    def count(self, theme, is_equal):
        counts = self.themes.setdefault(theme, [0, 0])
        counts[0] += is_equal
        counts[1] += 1

    def verdict(self, is_strict):
        """Prints the shares; true when they are high enough and nothing differs without a reason."""
        is_enough = True
        equal, steps = (sum(c[i] for c in self.themes.values()) for i in (0, 1))
        for theme, (same, total) in [*self.themes.items(), ("all", (equal, steps))]:
            least = ALL_MIN if theme == "all" else THEME_MIN
            is_low = total > 0 and same / total < least
            is_enough = is_enough and not is_low
            print(f"{theme:<18} {same:>5} of {total:>5} equal{'  too few' if is_low else ''}")
        print(f"{self.listed} differ for a reason that is listed, {len(self.unknown)} without")
        return is_enough and not (is_strict and self.unknown)


def replay(door, folder, options):
    reasons, tally = known(), Tally()
    for theme, name, steps in transcript.cases(folder, options.case):
        for step, answer in zip(steps, Case(door, name, steps).run()):
            found = transcript.compared(step, answer, options.prose)
            tally.count(theme, not found)
            if not found:
                continue
            what = f"{name}#{step['step']}"
            if what in reasons or f"{name}#*" in reasons:
                tally.listed += 1
                continue
            tally.unknown.append(what)
            if len(tally.unknown) <= options.show:
                request = step["request"]
                print(f"{theme}: {what} {request['method']} {request['path']}")
                for text in found[:TOLD]:
                    print(f"    {text}")
    return tally


class Own:
    """A server of our own on an empty directory."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="replay-")
        tokens = os.path.join(self.folder, "tokens.csv")
        with open(tokens, "w", encoding="utf-8") as file:
            file.write("admin-token,admin,admin-uid,system:masters\nviewer-token,viewer,viewer-uid,viewers\n")
        data, log = os.path.join(self.folder, "data"), open(os.path.join(self.folder, "log"), "w", encoding="utf-8")
        without = "controllers,workloads,scheduler,nodes"
        words = [program(), "up", "--listen", "127.0.0.1:0", "--data-dir", data, "--without", without]
        self.process = subprocess.Popen([*words, "--token-auth-file", tokens], stdout=log, stderr=log)
        self.server, self.ca = self.reach(os.path.join(data, "kubeconfig"))

    def reach(self, kubeconfig):
        end = time.monotonic() + 60
        while time.monotonic() < end and self.process.poll() is None:
            try:
                cluster = json.load(open(kubeconfig, encoding="utf-8"))["clusters"][0]["cluster"]
                ca = os.path.join(self.folder, "ca.crt")
                with open(ca, "wb") as file:
                    file.write(base64.b64decode(cluster["certificate-authority-data"]))
                context = ssl.create_default_context(cafile=ca)
                url = urllib.parse.urlsplit(cluster["server"])
                http.client.HTTPSConnection(url.hostname, url.port, timeout=5, context=context).connect()
                return cluster["server"], ca
            except (OSError, ValueError, KeyError):
                time.sleep(0.1)
        self.stop()
        sys.exit("replay: the server did not come up; KNARR names the program")

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def program():
    candidates = [os.environ.get("KNARR"), "target/release/knarr", "target/debug/knarr"]
    found = next((c for c in candidates if c and os.path.exists(c)), None)
    return found or sys.exit("replay: no program: build it, or name it with KNARR=FILE")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=os.environ.get("CONFORMANCE_DATA", ""), help="folder of facts and recordings")
    parser.add_argument("--case", default="", help="only cases whose name has this in it")
    parser.add_argument("--prose", action="store_true", help="words for people must be equal too")
    parser.add_argument("--show", type=int, default=40, help="differences to tell")
    parser.add_argument("--server", help="a server that runs already")
    parser.add_argument("--ca", help="its certificate authority")
    parser.add_argument("--token", help="token of a user of system:masters")
    parser.add_argument("--viewer-token", help="token of user viewer, group viewers; impersonated when absent")
    return parser.parse_args()


def main():
    options = arguments()
    folder = os.path.join(options.data, "kubernetes", "transcripts")
    if not os.path.isdir(folder):
        print(f"no recordings in {folder}: nothing to replay")
        return 0
    own = None if options.server else Own()
    try:
        if own:
            door = Door(own.server, own.ca, "admin-token", "viewer-token")
        else:
            door = Door(options.server, options.ca, options.token, options.viewer_token)
        tally = replay(door, folder, options)
    finally:
        if own:
            own.stop()
    return 0 if tally.verdict(is_strict=own is not None and not options.case) else 1


if __name__ == "__main__":
    sys.exit(main())
