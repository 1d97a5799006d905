#!/usr/bin/env python3
"""An ordinary Kubernetes API server for conformance runs: kube-apiserver and etcd on loopback, no other controllers.

  serve.py --dir DIR [--kube-apiserver FILE] [--etcd FILE]

Starts both, writes DIR/kubeconfig when the server is ready, and runs until it is told to end. kube-apiserver is built from
kube-apiserver/ (`go build`), etcd comes with the machine.
"""

import argparse
import json
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request

ADDRESS = "127.0.0.1"


def free_port():
    with socket.socket() as s:
        s.bind((ADDRESS, 0))
        return s.getsockname()[1]


def start(name, words, directory):
    log = open(os.path.join(directory, name + ".log"), "ab")
    return subprocess.Popen(words, stdout=log, stderr=log, cwd=directory)


def is_ready(url, token):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    request = urllib.request.Request(url + "/readyz", headers={"Authorization": "Bearer " + token})
    try:
        with urllib.request.urlopen(request, context=context, timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", required=True)
    parser.add_argument("--kube-apiserver", default=shutil.which("kube-apiserver"))
    parser.add_argument("--etcd", default=shutil.which("etcd"))
    args = parser.parse_args()
    for name in ("kube_apiserver", "etcd"):
        if not getattr(args, name):
            sys.exit(f"serve.py: no {name.replace('_', '-')} on this machine: name one with --{name.replace('_', '-')}")
    directory = os.path.abspath(args.dir)
    os.makedirs(directory, mode=0o700, exist_ok=True)
    token = secrets.token_hex(16)
    path = lambda name: os.path.join(directory, name)
    with open(path("tokens.csv"), "w", encoding="utf-8") as f:
        f.write(f'{token},admin,1,"system:masters"\n')
    subprocess.run(["openssl", "genrsa", "-out", path("sa.key"), "2048"], check=True, stderr=subprocess.DEVNULL)
    client, peer, port = free_port(), free_port(), free_port()
    etcd = start("etcd", [
        args.etcd, "--data-dir", path("etcd"), "--listen-client-urls", f"http://{ADDRESS}:{client}",
        "--advertise-client-urls", f"http://{ADDRESS}:{client}", "--listen-peer-urls", f"http://{ADDRESS}:{peer}",
        "--initial-advertise-peer-urls", f"http://{ADDRESS}:{peer}", "--initial-cluster", f"default=http://{ADDRESS}:{peer}",
    ], directory)
    server = start("kube-apiserver", [
        args.kube_apiserver, "--etcd-servers", f"http://{ADDRESS}:{client}", "--bind-address", ADDRESS,
        "--secure-port", str(port), "--cert-dir", path("certs"), "--token-auth-file", path("tokens.csv"),
        "--service-account-issuer", "https://kubernetes.default.svc", "--service-account-key-file", path("sa.key"),
        "--service-account-signing-key-file", path("sa.key"), "--service-cluster-ip-range", "10.96.0.0/16",
        "--authorization-mode", "RBAC", "--anonymous-auth=false",
        # Accounts of pods are another controller's work, which does not run here.
        "--disable-admission-plugins", "ServiceAccount",
    ], directory)

    # The handler only raises: waiting inside it would meet the wait that it interrupted, and both would wait for ever.
    def end(*_):
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    try:
        serve(server, etcd, directory, f"https://{ADDRESS}:{port}", token)
    finally:
        # One after the other: without etcd a kube-apiserver does not find its end.
        for process in (server, etcd):
            stop(process)


def stop(process):
    process.terminate()
    try:
        process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def serve(server, etcd, directory, url, token):
    path = lambda name: os.path.join(directory, name)
    for _ in range(600):
        if server.poll() is not None or etcd.poll() is not None:
            sys.exit(f"serve.py: the server ended; see {directory}/kube-apiserver.log and etcd.log")
        if is_ready(url, token):
            break
        time.sleep(0.2)
    else:
        sys.exit(f"serve.py: not ready within two minutes; see {directory}/kube-apiserver.log")
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": "foreign",
        "clusters": [{"name": "foreign", "cluster": {"server": url, "insecure-skip-tls-verify": True}}],
        "users": [{"name": "admin", "user": {"token": token}}],
        "contexts": [{"name": "foreign", "context": {"cluster": "foreign", "user": "admin"}}],
    }
    with open(path("kubeconfig.new"), "w", encoding="utf-8") as f:
        json.dump(config, f)
    os.rename(path("kubeconfig.new"), path("kubeconfig"))
    print(f"ready at {url}", flush=True)
    server.wait()
    sys.exit("serve.py: kube-apiserver ended")


if __name__ == "__main__":
    main()
