"""Builds or installs the outside programs that the scripts drive: pinned, into one folder, on a machine that may be new.

CONFORMANCE_CACHE names the folder; without it a temporary one serves for one script. What cannot be had is a failure.
"""

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv

HERE = os.path.dirname(os.path.abspath(__file__))
CLIENTS = os.path.join(HERE, "clients")
GO = os.path.join(CLIENTS, "go")


def cache():
    """The folder for what is built; made when it is missing."""
    named = os.environ.get("CONFORMANCE_CACHE")
    if not named:
        named = tempfile.mkdtemp(prefix="conformance-")
        atexit.register(shutil.rmtree, named, ignore_errors=True)
        os.environ["CONFORMANCE_CACHE"] = named
    os.makedirs(named, exist_ok=True)
    return os.path.abspath(named)


def must(words, what, cwd=None, env=None):
    """Runs a command that builds or installs; ends the script, with what was said, when it fails."""
    started = time.monotonic()
    try:
        done = subprocess.run(words, cwd=cwd, env=dict(os.environ, **(env or {})), capture_output=True, text=True)
    except FileNotFoundError as e:
        sys.exit(f"FAIL {what}: {e}\n0 passed, 1 failed")
    if done.returncode != 0:
        sys.exit(f"FAIL {what}: $ {' '.join(words)}\n{done.stdout[-4000:]}{done.stderr[-4000:]}\n0 passed, 1 failed")
    print(f"     {what}: {time.monotonic() - started:.0f} s", flush=True)


def go(name, package, flags=()):
    """The program of a package of clients/go, built."""
    program = os.path.join(cache(), name)
    must(["go", "build", "-trimpath", *flags, "-o", program, package], f"build {name}", cwd=GO)
    return program


def kubectl():
    """kubectl as its module ships it."""
    v = "k8s.io/component-base/version"
    return go("kubectl", "./kubectl", ["-ldflags", f"-s -w -X {v}.gitVersion=v1.37.0 -X {v}.gitMajor=1 -X {v}.gitMinor=37"])


def helm():
    """helm as its module ships it, told its own version and which Kubernetes it renders for without a cluster."""
    m = "helm.sh/helm/v3"
    flags = f"-s -w -X {m}/internal/version.version=v3.22.0 -X {m}/pkg/chartutil.k8sVersionMajor=1 -X {m}/pkg/chartutil.k8sVersionMinor=37"
    return go("helm", f"{m}/cmd/helm", ["-ldflags", flags])


def python():
    """An interpreter that has what clients/python asks for."""
    home = os.path.join(cache(), "venv")
    program = os.path.join(home, "bin", "python")
    if not os.path.exists(program):
        venv.create(home, with_pip=True)
    wanted = os.path.join(CLIENTS, "python", "requirements.txt")
    must([program, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", wanted], "install the Python client")
    return program


def node():
    """A folder with the JavaScript programs beside what they ask for, as the lock file pins it."""
    home = os.path.join(cache(), "js")
    shutil.copytree(os.path.join(CLIENTS, "js"), home, dirs_exist_ok=True)
    must(["npm", "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"], "install the JavaScript client", cwd=home)
    return home


def cargo(name, folder):
    """The program of a crate of its own, built; with the workspace's target folder where it has one, since both compile much that is equal."""
    shared = os.environ.get("CARGO_TARGET_DIR") or os.path.join(os.path.dirname(HERE), "target")
    target = shared if os.path.isdir(shared) else os.path.join(cache(), "target")
    env = {"CARGO_TARGET_DIR": target, "CARGO_INCREMENTAL": "0"}
    must(["cargo", "build", "--locked", "--quiet"], f"build {name}", cwd=os.path.join(CLIENTS, folder), env=env)
    return os.path.join(target, "debug", name)


def hand_over(words, env=None):
    """Ends this script as that program does, which prints its own checks."""
    sys.stdout.flush()
    sys.exit(subprocess.run(words, env=dict(os.environ, **(env or {})), timeout=900).returncode)
