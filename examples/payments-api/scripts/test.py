#!/usr/bin/env python3
"""Run the tests with coverage: build/junit.xml, build/lcov.info, build/cobertura.xml.

Only the standard library is needed to start it. The exit code is pytest's.
"""

import os
import subprocess
import sys

from dependencies import ROOT, installed


def main():
    build = ROOT / "build"
    for report in ("junit.xml", "lcov.info", "cobertura.xml"):
        (build / report).unlink(missing_ok=True)
    environment = dict(os.environ)
    environment.update(
        PYTHONPATH=os.pathsep.join([str(installed("requirements.txt", "requirements-dev.txt")), str(ROOT)]),
        PYTHONDONTWRITEBYTECODE="1",
        COVERAGE_FILE=str(build / ".coverage"),
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--cov=payments", "--cov-branch",
               "--cov-report=term", "--cov-report=lcov:build/lcov.info", "--cov-report=xml:build/cobertura.xml",
               "--junit-xml=build/junit.xml", "tests"]
    return subprocess.run(command, cwd=ROOT, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
