"""Write a local OSV database for osv-scanner from demo/advisories.json: `osv_database.py FOLDER`."""

import json
import re
import sys
import zipfile
from pathlib import Path

DATA = json.loads((Path(__file__).resolve().parents[3] / "demo" / "advisories.json").read_text())
PIP = next(entries for name, entries in DATA["buckets"].items() if name.startswith("pip::"))


def record(package, cve, entry):
    """One advisory as an OSV record."""
    known = DATA["vulnerability"][cve]
    ranges = []
    for text in entry["VulnerableVersions"]:
        low, high = re.search(r">=\s*([^,\s]+)", text), re.search(r"<([^=,\s]+)", text)
        ranges.append({"type": "ECOSYSTEM", "events": [{"introduced": low[1] if low else "0"}, {"fixed": high[1]}]})
    found = {
        "schema_version": "1.6.0", "id": entry["VendorIDs"][0], "aliases": [cve], "summary": known["Title"],
        "details": known["Description"], "modified": "2026-11-21T00:00:00Z", "published": "2026-11-21T00:00:00Z",
        "affected": [{"package": {"ecosystem": "PyPI", "name": package, "purl": f"pkg:pypi/{package}"}, "ranges": ranges}],
        "database_specific": {"severity": known["Severity"].replace("MEDIUM", "MODERATE"), "cwe_ids": known["CweIDs"]},
    }
    if "CVSS" in known:
        found["severity"] = [{"type": "CVSS_V3", "score": known["CVSS"]["nvd"]["V3Vector"]}]
    return found


folder = Path(sys.argv[1], "osv-scanner", "PyPI")
folder.mkdir(parents=True, exist_ok=True)
with zipfile.ZipFile(folder / "all.zip", "w") as archive:
    for package, advisories in PIP.items():
        for cve, entry in advisories.items():
            found = record(package, cve, entry)
            archive.writestr(f"{found['id']}.json", json.dumps(found))
