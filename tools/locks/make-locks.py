#!/usr/bin/env python3
"""Write hash-pinned requirement files for `pip install --require-hashes`.

    make-locks.py OUT.lock.txt PYTHON[,PYTHON…] REQUIREMENT…

Each PYTHON (one per supported minor version) resolves the requirements with its own pip and the
user's own pip configuration; nothing is installed. The first one decides the versions, the others
are held to them where they can be, and every file that any of them would install contributes its
hash. What only some of them need gets an environment marker. The output names no index.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path


def resolve(python, requirements, constraints):
    """`{name: (version, sha256)}` and the minor version of `python`."""
    with tempfile.TemporaryDirectory() as folder:
        held = Path(folder, "constraints.txt")
        held.write_text("".join(f"{name}=={version}\n" for name, version in constraints.items()))
        report = Path(folder, "report.json")
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--dry-run",
             "--ignore-installed", "--report", str(report), "-c", str(held), *requirements],
            check=True,
        )
        found = {}
        data = json.loads(report.read_text())
        for item in data["install"]:
            name = re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower()
            found[name] = (item["metadata"]["version"], item["download_info"]["archive_info"]["hashes"]["sha256"])
        return ".".join(data["environment"]["python_version"].split(".")[:2]), found


def main():
    out, pythons, requirements = Path(sys.argv[1]), sys.argv[2].split(","), sys.argv[3:]
    first, minors, pinned = {}, [], {}
    for python in pythons:
        try:
            minor, found = resolve(python, requirements, first)
        except subprocess.CalledProcessError:
            print(f"{out.name}: {python} cannot use the same versions; it gets its own", file=sys.stderr)
            try:
                minor, found = resolve(python, requirements, {})
            except subprocess.CalledProcessError:
                print(f"{out.name}: {python} cannot install this; left out", file=sys.stderr)
                continue
        first = first or {name: version for name, (version, _) in found.items()}
        minors.append(minor)
        for name, (version, digest) in found.items():
            entry = pinned.setdefault((name, version), {"minors": [], "hashes": set()})
            entry["minors"].append(minor)
            entry["hashes"].add(digest)
    lines = [
        "# Made by make-locks.py; install with: pip install --require-hashes --no-deps -r THIS",
        f"# {' '.join(requirements)} for Python {', '.join(minors)}, Linux x86_64 with glibc",
    ]
    for (name, version), entry in sorted(pinned.items()):
        marker = ""
        if entry["minors"] != minors:
            marker = " ; " + " or ".join(f'python_version == "{minor}"' for minor in entry["minors"])
        lines.append(f"{name}=={version}{marker} \\")
        digests = sorted(entry["hashes"])
        lines += [f"    --hash=sha256:{digest} \\" for digest in digests[:-1]]
        lines.append(f"    --hash=sha256:{digests[-1]}")
    out.write_text("\n".join(lines) + "\n")


main()
