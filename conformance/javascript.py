"""The JavaScript client (npm `@kubernetes/client-node`) against any cluster with workload controllers and ready nodes."""

import os

import _build

if __name__ == "__main__":
    # Node warns of every connection that a kubeconfig leaves unverified.
    _build.hand_over(["node", "--no-warnings", os.path.join(_build.node(), "checks.mjs")])
