"""The Python client (PyPI `kubernetes`) against any cluster with workload controllers and ready nodes."""

import os

import _build

if __name__ == "__main__":
    program = os.path.join(_build.CLIENTS, "python", "checks.py")
    _build.hand_over([_build.python(), program], env={"PYTHONPATH": _build.HERE})
