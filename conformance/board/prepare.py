"""Brings a release to the point where the board has buttons to press: the example rolled out, version 2 waiting in its first group.

    python3 conformance/board/prepare.py --kubeconfig FILE --knarr target/release/knarr
"""

import argparse
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
for below in ("conformance", "conformance/mainjob", "conformance/release"):
    sys.path.insert(0, str(ROOT / below))
from _rest import Api  # noqa: E402
from up import wait_for  # noqa: E402
from wrk import CAFE, CONFIRMED, progress  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kubeconfig", required=True)
    parser.add_argument("--knarr", required=True)
    args = parser.parse_args()
    apply = [args.knarr, "apply", "--kubeconfig", args.kubeconfig, "-f"]
    subprocess.run([*apply, str(ROOT / "examples" / "cafe")], check=True)
    api = Api(args.kubeconfig)
    wait_for("roll-out", lambda: progress(api), 120)
    subprocess.run([*apply, str(ROOT / "examples" / "cafe" / "release" / "v2.yaml")], check=True)
    asked = lambda: api.get(CAFE)["metadata"].get("annotations", {}).get(CONFIRMED) == "false"
    wait_for("a group to confirm", asked, 60)


if __name__ == "__main__":
    main()
