"""A client-go program (informers, typed and dynamic clients, apply, election, events) against any cluster with workload controllers."""

import _build

if __name__ == "__main__":
    _build.hand_over([_build.go("informer", "./informer")])
