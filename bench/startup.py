#!/usr/bin/env python3
"""Start-up, the staged check and the fully cached re-run, beside their raw limits, in one run.

    bench/startup.py [BINARY]        default target/release/writ; gitleaks must be installed (writ tool install gitleaks)

Prints medians of wall time and of CPU time (user + system of the process and its children).
"""
import hashlib
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BINARY = str(Path(sys.argv[1] if len(sys.argv) > 1 else "target/release/writ").resolve())


def measure(name, command, cwd, env, times):
    walls, cpus = [], []
    for _ in range(times):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        begin = time.perf_counter()
        subprocess.run(command, cwd=cwd, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        walls.append(time.perf_counter() - begin)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpus.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    print(f"{name:<46} wall {statistics.median(walls) * 1000:8.1f} ms   cpu {statistics.median(cpus) * 1000:8.1f} ms")


def main():
    with tempfile.TemporaryDirectory() as work:
        env = dict(os.environ, XDG_DATA_HOME=f"{work}/data", XDG_CONFIG_HOME=f"{work}/config")
        env = {name: value for name, value in env.items() if not name.startswith("WRIT_") and name != "CI"}
        repository = Path(work) / "repository"
        repository.mkdir()
        git = ["git", "-c", "user.name=bench", "-c", "user.email=bench@writ.example", "-c", "core.hooksPath=/dev/null"]
        subprocess.run([*git, "init", "-q"], cwd=repository, check=True)
        total = 0
        for number in range(4000):
            file = repository / f"src/d{number % 40}/f{number}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            text = f"VALUE_{number} = {number}\n" * 60
            file.write_text(text)
            total += len(text)
        (repository / "writ.toml").write_text(
            'version = 1\nservice = "bench"\nprofile = "startup"\n[stage.secrets]\nuses = "gitleaks"\non = ["commit", "change"]\n'
        )
        subprocess.run([*git, "add", "-A"], cwd=repository, check=True)
        subprocess.run([*git, "commit", "-qm", "bench"], cwd=repository, check=True)
        measure("true (raw start of a process)", ["true"], repository, env, 50)
        measure("writ --version", [BINARY, "--version"], repository, env, 50)
        measure("git status, 4,000 files", ["git", "status", "--porcelain"], repository, env, 20)
        subprocess.run([BINARY, "run"], cwd=repository, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        measure("writ run, fully cached, recorded in the store", [BINARY, "run", "-q"], repository, env, 20)
        begin = time.perf_counter()
        for file in repository.rglob("*.py"):
            hashlib.sha256(file.read_bytes()).digest()
        print(f"{'SHA-256 of the tree (Python)':<46} wall {(time.perf_counter() - begin) * 1000:8.1f} ms   {total / 1e6:.1f} MB")
        (repository / "src/d0/f0.py").write_text("VALUE = 1\n")
        subprocess.run([*git, "add", "-A"], cwd=repository, check=True)
        found = sorted(Path.home().glob(".cache/writ/tools/gitleaks/*/lib/python3*/site-packages/*/bin/gitleaks"))
        if found:
            measure("gitleaks git --staged (the scanner alone)", [str(found[0]), "git", "--staged", "."], repository, env, 5)
        measure("writ check --staged", [BINARY, "check", "--staged", "-q"], repository, env, 5)


if __name__ == "__main__":
    main()
