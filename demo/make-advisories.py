#!/usr/bin/env python3
"""Write advisories.json: `python3 demo/make-advisories.py`. The facts stand below, one advisory a block."""

import json
from pathlib import Path

LABEL = "Writ demo advisories: facts about the example's dependencies only"
URL = "https://github.com/advisories"
PIP = f"pip::{LABEL}"

# Every fact is the GitHub advisory's, so that one source decides; README.md says how each was checked and where sources differ.
# package, CVE, alias, vulnerable ranges, fixed versions, severity, (who scored, score, vector) or None, CWEs, title in our own words
PYTHON = [
    ("certifi", "CVE-2023-37920", "GHSA-xqr8-7jwr-rhp7", ">=2015.4.28, <2023.7.22", ["2023.7.22"], "HIGH",
     ("ghsa", 7.5, "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:H/A:N"), ["CWE-345"],
     "The bundle still trusts the e-Tugra root certificates"),
    ("certifi", "CVE-2024-39689", "GHSA-248v-346w-9cwc", ">=2021.5.30, <2024.7.4", ["2024.7.4"], "LOW",
     None, ["CWE-345"], "The bundle still trusts the GLOBALTRUST root certificates"),
    ("gunicorn", "CVE-2024-1135", "GHSA-w3h3-4rj7-4ph4", "<22.0.0", ["22.0.0"], "HIGH",
     ("ghsa", 8.2, "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:L/I:H/A:N"), ["CWE-444"],
     "Request smuggling through unchecked Transfer-Encoding values"),
    ("gunicorn", "CVE-2024-6827", "GHSA-hc5x-x2vx-497g", "<22.0.0", ["22.0.0"], "HIGH",
     ("ghsa", 7.5, "CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N"), ["CWE-444"],
     "Request smuggling: an unknown transfer coding falls back to Content-Length"),
    ("pyjwt", "CVE-2022-29217", "GHSA-ffqj-6fqr-9h24", ">=1.5.0, <2.4.0", ["2.4.0"], "HIGH",
     ("ghsa", 7.4, "CVSS:3.1/AV:N/AC:H/PR:N/UI:N/S:U/C:H/I:H/A:N"), ["CWE-327"],
     "Key confusion when the sender may choose the signing algorithm"),
    ("urllib3", "CVE-2023-43804", "GHSA-v845-jxx5-vc9f", ">=2.0.0, <2.0.6|<1.26.17", ["2.0.6", "1.26.17"], "HIGH",
     ("pypa", 8.1, "CVSS:3.1/AV:N/AC:L/PR:L/UI:N/S:U/C:H/I:H/A:N"), ["CWE-200"],
     "Cookie headers follow a redirect to another host"),
    ("urllib3", "CVE-2023-45803", "GHSA-g4mx-q9vg-27p4", ">=2.0.0, <2.0.7|<1.26.18", ["2.0.7", "1.26.18"], "MEDIUM",
     ("ghsa", 4.2, "CVSS:3.1/AV:A/AC:H/PR:H/UI:N/S:U/C:H/I:N/A:N"), ["CWE-200"],
     "The request body is kept when a redirect turns POST into GET"),
    ("urllib3", "CVE-2024-37891", "GHSA-34jh-p97f-mpxf", ">=2.0.0, <2.2.2|<1.26.19", ["2.2.2", "1.26.19"], "MEDIUM",
     ("ghsa", 4.4, "CVSS:3.1/AV:N/AC:H/PR:H/UI:N/S:U/C:H/I:N/A:N"), ["CWE-669"],
     "Proxy-Authorization headers follow a redirect to another host"),
    ("urllib3", "CVE-2025-50181", "GHSA-pq67-6m6q-mj2v", "<2.5.0", ["2.5.0"], "MEDIUM",
     ("ghsa", 5.3, "CVSS:3.1/AV:N/AC:H/PR:L/UI:N/S:U/C:H/I:N/A:N"), ["CWE-601"],
     "Redirects stay on when they are switched off for the whole pool"),
    ("urllib3", "CVE-2025-66418", "GHSA-gm62-xv2j-4w53", ">=1.24, <2.6.0", ["2.6.0"], "HIGH",
     ("ghsa", 8.9, "CVSS:4.0/AV:N/AC:L/AT:P/PR:N/UI:N/VC:N/VI:N/VA:H/SC:N/SI:N/SA:H"), ["CWE-770"],
     "An endless chain of content encodings exhausts memory"),
    ("urllib3", "CVE-2025-66471", "GHSA-2xpw-w6gg-jr37", ">=1.0, <2.6.0", ["2.6.0"], "HIGH",
     ("ghsa", 8.9, "CVSS:4.0/AV:N/AC:L/AT:P/PR:N/UI:N/VC:N/VI:N/VA:H/SC:N/SI:N/SA:H"), ["CWE-409"],
     "Streaming a highly compressed answer unpacks it whole"),
    ("urllib3", "CVE-2026-21441", "GHSA-38jv-5279-wg99", ">=1.22, <2.6.3", ["2.6.3"], "HIGH",
     ("ghsa", 7.5, "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"), ["CWE-409"],
     "Compressed redirect answers are unpacked without a limit"),
]

# Source package, CVE, version that fixed it in Debian 12 ("" = none so far), severity, title in our own words.
# Deliberately few: fixed before Debian 12 came out, or judged minor by Debian.
DEBIAN = [
    ("openssl", "CVE-2022-4450", "3.0.8-1", "HIGH", "Double free while reading PEM data"),
    ("openssl", "CVE-2023-0286", "3.0.8-1", "HIGH", "Type confusion while comparing X.400 addresses"),
    ("expat", "CVE-2022-40674", "2.4.8-2", "HIGH", "Use after free in doContent"),
    ("expat", "CVE-2022-43680", "2.5.0-1", "HIGH", "Use after free when an external entity parser cannot be made"),
    ("zlib", "CVE-2022-37434", "1:1.2.11.dfsg-4.1", "CRITICAL", "Buffer overflow for gzip headers with a large extra field"),
    ("glibc", "CVE-2010-4756", "", "LOW", "The glob function may use much time and memory for crafted patterns"),
]

LEVEL = {"UNKNOWN": 0, "LOW": 1, "MEDIUM": 2, "HIGH": 3, "CRITICAL": 4}


def scored(score):
    """trivy's form of a score: version 3 and version 4 have keys of their own."""
    if score is None:
        return {}
    who, value, vector = score
    version = "V40" if vector.startswith("CVSS:4") else "V3"
    return {"CVSS": {who: {f"{version}Score": value, f"{version}Vector": vector}}}


def main():
    buckets, vulnerabilities = {PIP: {}, "debian 12": {}}, {}
    for package, cve, alias, ranges, fixed, severity, score, weaknesses, title in PYTHON:
        buckets[PIP].setdefault(package, {})[cve] = {
            "PatchedVersions": fixed, "VulnerableVersions": ranges.split("|"), "VendorIDs": [alias]}
        vulnerabilities[cve] = {
            "Title": f"{package}: {title}", "Description": title + ".", "Severity": severity, "CweIDs": weaknesses,
            "VendorSeverity": {"writ-demo": LEVEL[severity]},
            "References": [f"{URL}/{alias}"], **scored(score)}
    for package, cve, fixed, severity, title in DEBIAN:
        entry = {"FixedVersion": fixed} if fixed else {"FixedVersion": "", "Severity": LEVEL[severity], "Status": 2}
        buckets["debian 12"].setdefault(package, {})[cve] = entry
        vulnerabilities[cve] = {
            "Title": f"{package}: {title}", "Description": title + ".", "Severity": severity,
            "VendorSeverity": {"writ-demo": LEVEL[severity]},
            "References": [f"https://security-tracker.debian.org/tracker/{cve}"]}
    data = {
        "label": LABEL,
        "asOf": "2026-11-22",
        "buckets": buckets,
        "data-source": {name: {"ID": "writ-demo", "Name": LABEL, "URL": URL} for name in buckets},
        "vulnerability": vulnerabilities,
    }
    Path(__file__).with_name("advisories.json").write_text(json.dumps(data, indent=1, sort_keys=True) + "\n")


main()
