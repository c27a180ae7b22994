#!/usr/bin/env python3
"""Prove the rule pack: `check.py [SEMGREP]`. Every rule finds exactly the marked lines and nothing in the fixed files."""

import json
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main():
    semgrep = sys.argv[1] if len(sys.argv) > 1 else "semgrep"
    report = json.loads(subprocess.run(
        [semgrep, "scan", "--config", "rules", "--metrics=off", "--disable-version-check", "--quiet", "--no-git-ignore",
         "--json", "testcode"],
        cwd=HERE, stdout=subprocess.PIPE, check=True).stdout)
    found = {(Path(item["path"]).name, item["start"]["line"], item["check_id"].split(".")[-1]) for item in report["results"]}
    wanted, rules = set(), set()
    for file in sorted((HERE / "testcode").iterdir()):
        for number, line in enumerate(file.read_text().splitlines(), 1):
            if match := re.search(r"ruleid: ([\w-]+)", line):
                wanted.add((file.name, number + 1, match[1]))
    for file in sorted((HERE / "rules").iterdir()):
        rules.update(re.findall(r"^  - id: ([\w-]+)$", file.read_text(), re.MULTILINE))
    problems = [f"missed    {item}" for item in sorted(wanted - found)]
    problems += [f"too much  {item}" for item in sorted(found - wanted)]
    problems += [f"untested  {rule}" for rule in sorted(rules - {item[2] for item in wanted})]
    problems += [f"error     {error}" for error in report["errors"]]
    print("\n".join(problems + [f"{len(rules)} rules, {len(found & wanted)} of {len(wanted)} marked lines found, "
                                f"{len(report['paths']['scanned'])} files"]))
    return 1 if problems else 0


sys.exit(main())
