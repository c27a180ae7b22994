"""A loopback stand-in for the services that pip-audit and npm ask, answering from demo/advisories.json.

POST /v1/query is OSV's, POST /-/npm/v1/security/advisories/bulk is npm's. `python3 advisory_service.py PORT`.
"""

import gzip
import json
import re
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

DATA = json.loads((Path(__file__).resolve().parents[3] / "demo" / "advisories.json").read_text())
PIP = next(entries for name, entries in DATA["buckets"].items() if name.startswith("pip::"))
URL = "https://github.com/advisories/"
NPM = {
    "lodash": [
        {"id": 1096996, "ghsa": "GHSA-35jh-r3h4-6jhm", "title": "Command injection through template", "severity": "high",
         "vulnerable_versions": "<4.17.21", "cwe": ["CWE-94"], "cvss": {"score": 7.2, "vectorString": "CVSS:3.1/AV:N/AC:L/PR:H/UI:N/S:U/C:H/I:H/A:H"}},
        {"id": 1096302, "ghsa": "GHSA-29mw-wpgm-hmr9", "title": "Slow regular expressions in trim and toNumber", "severity": "moderate",
         "vulnerable_versions": "<4.17.21", "cwe": ["CWE-400"], "cvss": {"score": 5.3, "vectorString": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:L"}},
    ],
    "minimist": [
        {"id": 1097678, "ghsa": "GHSA-xvch-5gv4-984h", "title": "Prototype pollution through __proto__ arguments", "severity": "critical",
         "vulnerable_versions": "<1.2.6", "cwe": ["CWE-1321"], "cvss": {"score": 9.8, "vectorString": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}},
    ],
}


def number(version):
    """Release numbers, trailing zeros dropped, so that 2.2 equals 2.2.0."""
    parts = [int(part) for part in re.findall(r"\d+", version)]
    while parts and parts[-1] == 0:
        parts.pop()
    return parts


def inside(version, text):
    """Whether `version` lies in `>=a, <b`."""
    tests = {">=": lambda a, b: a >= b, "<=": lambda a, b: a <= b, "<": lambda a, b: a < b, ">": lambda a, b: a > b}
    for clause in text.split(","):
        sign, bound = re.fullmatch(r"\s*(>=|<=|<|>)\s*(\S+)\s*", clause).groups()
        if not tests[sign](number(version), number(bound)):
            return False
    return True


def osv(package, version):
    """OSV answers for one package version."""
    name = re.sub(r"[-_.]+", "-", package).lower()
    found = []
    for cve, entry in PIP.get(name, {}).items():
        if any(inside(version, text) for text in entry["VulnerableVersions"]):
            found.append({
                "id": entry["VendorIDs"][0], "aliases": [cve], "summary": DATA["vulnerability"][cve]["Title"],
                "details": DATA["vulnerability"][cve]["Description"], "published": "2026-11-21T00:00:00Z",
                "affected": [{"package": {"name": name, "ecosystem": "PyPI"}, "ranges": [{"type": "ECOSYSTEM", "events": [
                    {"introduced": "0"}] + [{"fixed": fixed} for fixed in entry["PatchedVersions"][:1]]}]}],
            })
    return {"vulns": found} if found else {}


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        asked = json.loads(body)
        if self.path.startswith("/v1/query"):
            answer = osv(asked["package"]["name"], asked["version"])
        elif self.path.endswith("/advisories/bulk"):
            answer = {name: [{**advisory, "url": URL + advisory["ghsa"]} for advisory in NPM[name]
                             if any(inside(version, advisory["vulnerable_versions"]) for version in versions)]
                      for name, versions in asked.items() if name in NPM}
        else:
            self.send_error(404)
            return
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments):
        pass


if __name__ == "__main__":
    HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
