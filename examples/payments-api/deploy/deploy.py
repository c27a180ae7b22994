#!/usr/bin/env python3
"""Stand-in for a real deployment: notes which image digest an environment runs.

    deploy.py ENVIRONMENT [--previous]

Keeps the current and the previous digest in build/environments/ENVIRONMENT.json.
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    state = ROOT / "build" / "environments" / f"{Path(sys.argv[1]).name}.json"
    state.parent.mkdir(parents=True, exist_ok=True)
    known = json.loads(state.read_text()) if state.exists() else {"current": None, "previous": None}
    if "--previous" in sys.argv:
        if known["previous"] is None:
            sys.exit("there is no previous digest to go back to")
        known = {"current": known["previous"], "previous": known["current"]}
    else:
        digest = (ROOT / "build" / "image.digest").read_text().strip()
        known = {"current": digest, "previous": known["current"]}
    state.write_text(json.dumps(known) + "\n")
    print(f"{state.stem} runs {known['current']}")


main()
