#!/usr/bin/env python3
"""Run the tests with coverage: build/junit.xml, build/lcov.info, build/cobertura.xml.

Only the standard library is needed to start it. The service's and the tests' requirements are installed,
hash-checked, into a folder named after the two lock files, so that the second run needs no installation.
The exit code is pytest's.
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ["requirements.txt", "requirements-dev.txt"]


def dependencies():
    """The folder with the installed requirements."""
    key = hashlib.sha256(b"".join((ROOT / lock).read_bytes() for lock in LOCKS) + sys.version.encode()).hexdigest()
    folder = ROOT / "build" / f"test-deps-{key[:12]}"
    if not (folder / ".complete").exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                   "--require-hashes", "--no-deps", "--upgrade", "--target", str(folder)]
        for lock in LOCKS:
            command += ["-r", str(ROOT / lock)]
        subprocess.run(command, check=True)
        (folder / ".complete").touch()
    return folder


def main():
    build = ROOT / "build"
    for report in ("junit.xml", "lcov.info", "cobertura.xml"):
        (build / report).unlink(missing_ok=True)
    environment = dict(os.environ)
    environment.update(
        PYTHONPATH=os.pathsep.join([str(dependencies()), str(ROOT)]),
        PYTHONDONTWRITEBYTECODE="1",
        COVERAGE_FILE=str(build / ".coverage"),
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--cov=payments", "--cov-branch",
               "--cov-report=term", "--cov-report=lcov:build/lcov.info", "--cov-report=xml:build/cobertura.xml",
               "--junit-xml=build/junit.xml", "tests"]
    return subprocess.run(command, cwd=ROOT, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
