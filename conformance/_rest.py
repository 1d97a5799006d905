"""A small REST client over a kubeconfig that Knarr wrote (JSON), for scripts that need many quick requests."""

import base64
import http.client
import json
import ssl
import urllib.parse


class Api:
    def __init__(self, kubeconfig):
        with open(kubeconfig) as f:
            config = json.load(f)
        cluster = config["clusters"][0]["cluster"]
        self.address = urllib.parse.urlsplit(cluster["server"]).netloc
        self.token = config["users"][0]["user"]["token"]
        self.tls = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())

    def connect(self, timeout=30):
        return http.client.HTTPSConnection(self.address, context=self.tls, timeout=timeout)

    def call(self, method, path, body=None, kind="application/json", timeout=30):
        """Gives (status, parsed answer); raises OSError or HTTPException when there is no answer."""
        connection = self.connect(timeout)
        try:
            headers = {"Authorization": f"Bearer {self.token}", "Accept": "application/json"}
            if body is not None:
                headers["Content-Type"] = kind
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer = connection.getresponse()
            data = answer.read()
            return answer.status, (json.loads(data) if data[:1] in b"{[" and data else data.decode())
        finally:
            connection.close()

    def get(self, path):
        status, body = self.call("GET", path)
        if status != 200:
            raise LookupError(f"GET {path}: {status} {body}")
        return body

    def merge(self, path, body):
        status, found = self.call("PATCH", path, body, "application/merge-patch+json")
        if status not in (200, 201):
            raise LookupError(f"PATCH {path}: {status} {found}")
        return found

    def watch(self, path, timeout=600):
        """Yields (type, object) until the server ends the watch."""
        connection = self.connect(timeout)
        sign = "&" if "?" in path else "?"
        connection.request("GET", f"{path}{sign}watch=true", headers={"Authorization": f"Bearer {self.token}"})
        answer = connection.getresponse()
        try:
            for line in answer:
                if line.strip():
                    event = json.loads(line)
                    yield event["type"], event["object"]
        finally:
            connection.close()
