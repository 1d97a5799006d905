"""A kube-rs program (calls, apply, watchers of both kinds, reflector, finalizers, a controller) against any cluster with workload controllers."""

import _build

if __name__ == "__main__":
    _build.hand_over([_build.cargo("conformance-kube-rs", "kube-rs")])
