#!/usr/bin/env python3
"""Read every report of this folder and write expected.toml: what the tool itself says, counted without Writ.

`by` holds the tool's own severity words (a word "none" where the tool has none). `looked_at` is what the report says it
covered; a report that says nothing about that has no such key. `components` are inventory entries, `suppressed` are
findings that the report marks as suppressed (they are not in `findings`).
"""

import json
import re
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent


def sarif(data, tool_name):
    by, suppressed = Counter(), 0
    tool = None
    for run in data["runs"]:
        driver = run["tool"]["driver"]
        tool = tool or driver["name"]
        rules = {rule["id"]: rule for rule in driver.get("rules", [])}
        for result in run.get("results", []):
            # SARIF 2.1.0, 3.27.23: one suppression under review or rejected, and the result counts.
            marks = result.get("suppressions") or []
            if marks and not any(mark.get("status") in ("underReview", "rejected") for mark in marks):
                suppressed += 1
                continue
            # 3.27.24: an absent result was in the baseline and is gone now.
            if result.get("baselineState") == "absent":
                continue
            rule = rules.get(result.get("ruleId"), {})
            by[result.get("level") or rule.get("defaultConfiguration", {}).get("level") or "warning"] += 1
    return {"tool": tool, "findings": sum(by.values()), "by": by, "suppressed": suppressed}


def trivy(data, name):
    by, kinds, looked, components, licences = Counter(), Counter(), Counter(), 0, Counter()
    for result in data.get("Results", []):
        components += len(result.get("Packages", []))
        for kind, key in (("vulnerability", "Vulnerabilities"), ("misconfiguration", "Misconfigurations"), ("secret", "Secrets")):
            for item in result.get(key, []) or []:
                by[item["Severity"]] += 1
                kinds[kind] += 1
        for item in result.get("Licenses", []) or []:
            licences[item["Severity"]] += 1
        summary = result.get("MisconfSummary")
        if summary:
            looked["tests"] += summary["Successes"] + summary["Failures"]
    if components:
        looked["packages"] = components
    if licences:
        looked["licences"] = sum(licences.values())
    return {"tool": "trivy", "findings": sum(by.values()), "by": by, "kinds": kinds, "licences": licences,
            "looked_at": looked, "components": components}


def checkov(data, name):
    parts = data if isinstance(data, list) else [data]
    looked, by, suppressed = Counter(), Counter(), 0
    for part in parts:
        summary = part.get("summary", part)
        looked["resources"] += summary["resource_count"]
        looked["tests"] += summary["passed"] + summary["failed"]
        by["none"] += summary["failed"]
        suppressed += summary["skipped"]
        looked["parsing_errors"] += summary["parsing_errors"]
    return {"tool": "checkov", "findings": by["none"], "by": by, "suppressed": suppressed, "looked_at": looked}


def wapiti(data, name):
    by, kinds = Counter(), Counter()
    for section in ("vulnerabilities", "anomalies", "additionals"):
        for items in data[section].values():
            for item in items:
                by[str(item["level"])] += 1
                kinds[section] += 1
    return {"tool": "wapiti", "findings": sum(by.values()), "by": by, "kinds": kinds,
            "looked_at": {"pages": data["infos"]["crawled_pages_nbr"]}}


def simple(tool, items, severity):
    def count(data, name):
        by = Counter(str(severity(item)) for item in items(data))
        return {"tool": tool, "findings": sum(by.values()), "by": by}
    return count


def pip_audit(data, name):
    skipped = sum(1 for item in data["dependencies"] if "skip_reason" in item)
    found = sum(len(item.get("vulns", [])) for item in data["dependencies"])
    return {"tool": "pip-audit", "findings": found, "by": {"none": found},
            "looked_at": {"packages": len(data["dependencies"]) - skipped, "skipped": skipped}}


def npm_audit(data, name):
    if "vulnerabilities" not in data:
        return {"tool": "npm-audit", "error": f"{data['statusCode']}"}
    advisories = {(via["source"], package["name"]): via["severity"] for package in data["vulnerabilities"].values()
                  for via in package["via"] if isinstance(via, dict)}
    by = Counter(advisories.values())
    return {"tool": "npm-audit", "findings": sum(by.values()), "by": by,
            "looked_at": {"packages": data["metadata"]["dependencies"]["total"]}}


def cargo_audit(data, name):
    warnings = sum(len(items) for items in data["warnings"].values())
    found = data["vulnerabilities"]["count"]
    return {"tool": "cargo-audit", "findings": found + warnings, "by": {"none": found, **({"warning": warnings} if warnings else {})},
            "kinds": {"vulnerability": found, "warning": warnings}, "looked_at": {"packages": data["lockfile"]["dependency-count"]}}


def semgrep(data, name):
    by = Counter(item["extra"]["severity"] for item in data["results"])
    return {"tool": "semgrep", "findings": sum(by.values()), "by": by, "looked_at": {"files": len(data["paths"]["scanned"])}}


def bandit(data, name):
    by = Counter(item["issue_severity"] for item in data["results"])
    return {"tool": "bandit", "findings": sum(by.values()), "by": by,
            "looked_at": {"files": len(data["metrics"]) - 1, "lines": data["metrics"]["_totals"]["loc"]}}


def gosec(data, name):
    by = Counter(item["severity"] for item in data["Issues"] if not item["suppressions"])
    return {"tool": "gosec", "findings": sum(by.values()), "by": by,
            "suppressed": sum(1 for item in data["Issues"] if item["suppressions"]),
            "looked_at": {"files": data["Stats"]["files"], "lines": data["Stats"]["lines"]}}


def grype(data, name):
    by = Counter(item["vulnerability"]["severity"] for item in data["matches"])
    return {"tool": "grype", "findings": sum(by.values()), "by": by, "suppressed": len(data.get("ignoredMatches") or [])}


def osv(data, name):
    by = Counter()
    for result in data["results"]:
        for package in result["packages"]:
            for item in package["vulnerabilities"]:
                by[item["database_specific"]["severity"]] += 1
    return {"tool": "osv-scanner", "findings": sum(by.values()), "by": by}


def zap_json(data, name):
    by, instances = Counter(), 0
    for site in data["site"]:
        for alert in site["alerts"]:
            by[alert["riskcode"]] += 1
            instances += len(alert["instances"])
    return {"tool": "zap", "findings": sum(by.values()), "by": by, "instances": instances}


def inventory(tool, key):
    # A CycloneDX file may carry vulnerabilities too: one per package they affect.
    return lambda data, name: {"tool": tool, "components": len(data[key]),
                               "findings": sum(len(item["affects"]) for item in data.get("vulnerabilities", []))}


def cyclonedx_xml(root, name):
    space = root.tag[: root.tag.index("}") + 1]
    return {"tool": "syft", "findings": 0, "components": len(root.find(f"{space}components"))}


def zap_xml(root, name):
    by = Counter(item.findtext("riskcode") for item in root.iter("alertitem"))
    return {"tool": "zap", "findings": sum(by.values()), "by": by, "instances": sum(1 for _ in root.iter("instance"))}


def junit(root, name):
    cases = list(root.iter("testcase"))
    having = lambda tag: sum(1 for case in cases if case.find(tag) is not None)
    result = {"failed": having("failure"), "errors": having("error"), "skipped": having("skipped")}
    return {"tool": "pytest", "findings": 0, "looked_at": {"tests": len(cases)},
            "tests": {**result, "passed": len(cases) - sum(result.values())}}


def cobertura(root, name):
    # The same file may hold a line in several places (class and method); classes hold each once.
    lines, covered = 0, 0
    for klass in root.iter("class"):
        for line in klass.findall("lines/line"):
            lines += 1
            covered += int(line.get("hits")) > 0
    return {"tool": "cobertura", "findings": 0, "coverage": {"lines": lines, "covered": covered},
            "looked_at": {"files": len({klass.get("filename") for klass in root.iter("class")})}}


def jacoco(root, name):
    counter = {item.get("type"): item for item in root.findall("counter")}
    missed, covered = (int(counter["LINE"].get(word)) for word in ("missed", "covered"))
    return {"tool": "jacoco", "findings": 0, "coverage": {"lines": missed + covered, "covered": covered},
            "looked_at": {"files": sum(1 for _ in root.iter("sourcefile"))}}


def lcov(text, name):
    found = [int(item.rsplit(",", 1)[1]) if item.count(",") == 1 else int(item.split(",")[1])
             for item in re.findall(r"^DA:(\d+,\d+)", text, re.MULTILINE)]
    return {"tool": "lcov", "findings": 0, "coverage": {"lines": len(found), "covered": sum(1 for hits in found if hits)},
            "looked_at": {"files": len(re.findall(r"^SF:", text, re.MULTILINE))}}


def git_secrets(text, name):
    found = len(re.findall(r"^[0-9a-f]{40}:[^:]+:\d+:", text, re.MULTILINE))
    return {"tool": "git-secrets", "findings": found, "by": {"none": found}}


def nuclei(text, name):
    by = Counter(json.loads(line)["info"]["severity"] for line in text.splitlines())
    return {"tool": "nuclei", "findings": sum(by.values()), "by": by}


#: folder -> (Writ's name of the format, counter)
FORMATS = {
    "sarif": ("sarif", sarif),
    "gitleaks": ("gitleaks", simple("gitleaks", lambda data: data, lambda item: "none")),
    "git-secrets": ("git-secrets", git_secrets),
    "semgrep": ("semgrep", semgrep),
    "trivy": ("trivy", trivy),
    "syft": ("syft", inventory("syft", "artifacts")),
    "cyclonedx": ("cyclonedx", inventory("syft", "components")),
    "spdx": ("spdx", inventory("syft", "packages")),
    "checkov": ("checkov", checkov),
    "hadolint": ("hadolint", simple("hadolint", lambda data: data, lambda item: item["level"])),
    "bandit": ("bandit", bandit),
    "gosec": ("gosec", gosec),
    "tfsec": ("tfsec", simple("tfsec", lambda data: data["results"], lambda item: item["severity"])),
    "wapiti": ("wapiti", wapiti),
    "zap": ("zap", zap_json),
    "nuclei": ("nuclei", nuclei),
    "grype": ("grype", grype),
    "osv-scanner": ("osv-scanner", osv),
    "pip-audit": ("pip-audit", pip_audit),
    "npm-audit": ("npm-audit", npm_audit),
    "cargo-audit": ("cargo-audit", cargo_audit),
    "junit": ("junit", junit),
    "lcov": ("lcov", lcov),
    "cobertura": ("cobertura", cobertura),
    "jacoco": ("jacoco", jacoco),
}


def table(values):
    return "{ " + ", ".join(f'"{key}" = {values[key]}' for key in sorted(values) if values[key] is not None) + " }"


def main():
    lines = ["# Made by count.py; the oracle of the ingest tests. Do not edit.", ""]
    for path in sorted(HERE.glob("*/*")):
        folder = path.parent.name
        if folder == "inputs" or path.name == "NOTICE":
            continue
        form, counter = FORMATS[folder]
        text = path.read_text()
        if path.suffix == ".xml":
            root = ElementTree.fromstring(text)
            counter = {"cyclonedx": cyclonedx_xml, "zap": zap_xml}.get(folder, counter)
            found = counter(root, path.name)
        elif path.suffix in (".info", ".txt", ".jsonl"):
            found = counter(text, path.name)
        else:
            found = counter(json.loads(text), path.name)
        if folder in ("cyclonedx", "spdx"):
            found["tool"] = path.name.split("-")[0]
        lines += ["[[report]]", f'file = "{folder}/{path.name}"', f'format = "{form}"', f'tool = "{found["tool"]}"']
        if "error" in found:
            lines.append(f'error = "{found["error"]}"')
        else:
            lines.append(f"findings = {found['findings']}")
        for key in ("suppressed", "components", "instances"):
            if found.get(key):
                lines.append(f"{key} = {found[key]}")
        for key in ("by", "kinds", "licences", "looked_at", "tests", "coverage"):
            values = {name: value for name, value in found.get(key, {}).items() if value or key in ("looked_at", "tests")}
            if values:
                lines.append(f"{key} = {table(values)}")
        lines.append("")
    (HERE / "expected.toml").write_text("\n".join(lines))
    print(f"{len([line for line in lines if line == '[[report]]'])} reports", file=sys.stderr)


if __name__ == "__main__":
    main()
