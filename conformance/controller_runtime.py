"""A controller-runtime operator with webhooks and two versions of its kind, against any cluster on this machine with workload controllers.

The API server must reach this machine's loopback address: the webhooks are served there. (The script is not called operator.py:
Python's own module of that name would be hidden from every script beside it.)
"""

import _build

if __name__ == "__main__":
    _build.hand_over([_build.go("operator", "./operator")])
