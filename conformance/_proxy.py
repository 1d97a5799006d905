"""Plain requests to any cluster: `kubectl proxy` knows the kubeconfig's ways in, this only speaks HTTP to it on loopback."""

import atexit
import http.client
import json
import re
import subprocess

from _kit import Failed, KUBECTL


class Answer:
    def __init__(self, method, path, answer):
        self.asked = f"{method} {path}"
        self.status, self.headers = answer.status, answer.headers
        data = answer.read()
        self.body = json.loads(data) if data[:1] in (b"{", b"[") else data.decode(errors="replace")

    @property
    def warnings(self):
        return [re.sub(r'^299 \S+ "(.*)"$', r"\1", w).replace('\\"', '"') for w in self.headers.get_all("Warning") or []]

    def ok(self, *codes):
        """The body; fails unless the status is one of these, or 200 or 201."""
        if self.status not in (codes or (200, 201)):
            raise Failed(f"{self.asked}: {self.status} {str(self.body)[:600]}")
        return self.body

    def causes(self):
        return {(c.get("field", ""), c["message"]) for c in self.body.get("details", {}).get("causes", [])}


class Proxy:
    def __init__(self):
        self.process = subprocess.Popen([KUBECTL, "proxy", "--port=0"], stdout=subprocess.PIPE, text=True)
        atexit.register(self.process.terminate)
        said = self.process.stdout.readline()
        self.address = said.rsplit(" ", 1)[-1].strip()
        if ":" not in self.address:
            raise Failed(f"kubectl proxy said {said!r}")
        self.kept = None

    def connect(self, timeout=30):
        return http.client.HTTPConnection(self.address, timeout=timeout)

    def call(self, method, path, body=None, kind="application/json", accept="application/json"):
        self.kept = self.kept or self.connect()
        headers = {"Accept": accept} | ({"Content-Type": kind} if body is not None else {})
        try:
            self.kept.request(method, path, json.dumps(body) if body is not None else None, headers)
            return Answer(method, path, self.kept.getresponse())
        except (OSError, http.client.HTTPException):
            self.kept.close()
            self.kept = None
            raise

    def get(self, path, **kw):
        return self.call("GET", path, **kw).ok()

    def watch(self, path, timeout=30):
        """Yields (type, object) until the server ends the watch; no word for `timeout` seconds is a failure."""
        connection = self.connect(timeout)
        connection.request("GET", path)
        answer = connection.getresponse()
        if answer.status != 200:
            raise Failed(f"GET {path}: {answer.status} {answer.read()[:300]!r}")
        try:
            for line in answer:
                if line.strip():
                    event = json.loads(line)
                    yield event["type"], event["object"]
        except TimeoutError as e:
            raise Failed(f"GET {path}: not a word for {timeout} s") from e
        finally:
            connection.close()
