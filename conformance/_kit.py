"""What the conformance scripts share: running kubectl, waiting, counting. Python's standard library only."""

import json
import os
import subprocess
import sys
import threading
import time

KUBECTL = os.environ.get("KUBECTL", "kubectl")
DATA = os.environ.get("CONFORMANCE_DATA", "")


class Failed(AssertionError):
    """A meaning that differs from upstream's."""


class Run:
    """The outcome of a command."""

    def __init__(self, args, done):
        self.args, self.code = args, done.returncode
        self.out, self.err = done.stdout, done.stderr

    def __str__(self):
        return f"$ {' '.join(self.args)}\nexit {self.code}\n{self.out}{self.err}"


def run(*args, stdin=None, timeout=60, env=None):
    full = dict(os.environ, **(env or {}))
    done = subprocess.run([KUBECTL, *args], input=stdin, capture_output=True, text=True, timeout=timeout, env=full)
    return Run(["kubectl", *args], done)


def kubectl(*args, **kw):
    """Runs kubectl; fails unless it exits with 0. Gives its standard output."""
    r = run(*args, **kw)
    if r.code != 0:
        raise Failed(str(r))
    return r.out


def refused(*args, says=(), code=1, **kw):
    """Runs kubectl; fails unless it is refused with this exit code and these words."""
    r = run(*args, **kw)
    if r.code != code:
        raise Failed(f"expected exit {code}\n{r}")
    for word in [says] if isinstance(says, str) else says:
        if word not in r.err + r.out:
            raise Failed(f"expected {word!r} in\n{r}")
    return r.err


def get(*args, **kw):
    return json.loads(kubectl("get", *args, "-o", "json", **kw))


def equal(found, wanted, what=""):
    if found != wanted:
        raise Failed(f"{what}: found {found!r}, wanted {wanted!r}")


def contains(text, *words):
    for word in words:
        if word not in text:
            raise Failed(f"expected {word!r} in\n{text}")


def eventually(check, seconds=60, every=0.2):
    """Repeats `check` until it returns something true; its last complaint is the failure."""
    end = time.monotonic() + seconds
    last = None
    while time.monotonic() < end:
        try:
            found = check()
            if found:
                return found
            last = f"last answer {found!r}"
        except Failed as e:
            last = str(e)
        time.sleep(every)
    raise Failed(f"not within {seconds} s: {last}")


class Watch:
    """Every event of pods (`-n NAMESPACE -l LABEL`), in order, until stopped."""

    def __init__(self, *where):
        args = [KUBECTL, "get", "pods", *where, "-w", "--output-watch-events", "-o", "json"]
        self.process = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.events = []
        # When each was heard, in seconds of the monotonic clock.
        self.times = []
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        decoder, buffer = json.JSONDecoder(), ""
        for line in self.process.stdout:
            buffer += line
            # One object per line, or indented: then a brace at the margin ends it.
            if not line.startswith(("{", "}")):
                continue
            try:
                event, _ = decoder.raw_decode(buffer)
            except ValueError:
                continue
            buffer = ""
            self.times.append(time.monotonic())
            self.events.append((event["type"], event["object"]))

    def seen(self, count):
        """Waits until the first `count` pods have been told."""
        eventually(lambda: len({o["metadata"]["name"] for _, o in self.events}) >= count)

    def stop(self):
        time.sleep(1)
        self.process.terminate()
        self.process.wait(timeout=10)
        self.thread.join(timeout=10)
        return self.events


def main(cases, namespace=None, failures=()):
    """Runs the cases in order and prints `N passed, N failed`; `failures` are exceptions of a client that mean a failed case too."""
    only = sys.argv[1:]
    passed, failed = 0, []
    if namespace:
        run("delete", "namespace", namespace, "--ignore-not-found", "--wait=true", timeout=120)
        kubectl("create", "namespace", namespace)
    for case in cases:
        name = case.__name__.replace("_", " ")
        if only and not any(o in name for o in only):
            continue
        started = time.monotonic()
        try:
            case()
        except (Failed, subprocess.TimeoutExpired, KeyError, IndexError, ValueError, TypeError, AttributeError, *failures) as e:
            failed.append(name)
            print(f"FAIL {name}\n    " + f"{type(e).__name__}: {e}".replace("\n", "\n    "), flush=True)
        else:
            passed += 1
            print(f"ok   {name} ({time.monotonic() - started:.1f} s)", flush=True)
    if namespace:
        run("delete", "namespace", namespace, "--wait=false")
    print(f"{passed} passed, {len(failed)} failed")
    sys.exit(1 if failed or not passed else 0)
