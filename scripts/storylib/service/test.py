"""Builds the tests with gcc's own coverage, runs them, and leaves build/junit.xml and build/lcov.info."""

import json
import pathlib
import subprocess
import sys
from xml.sax.saxutils import quoteattr

build = pathlib.Path("build")
build.mkdir(exist_ok=True)
for old in build.glob("*.gc*"):
    old.unlink()
for name in ("price", "test_price"):
    # An object each, so that what is measured is the service's code and not the tests'.
    measured = ["--coverage"] if name == "price" else []
    subprocess.run(["gcc", "-O0", *measured, "-c", f"{name}.c", "-o", f"build/{name}.o"], check=True)
subprocess.run(["gcc", "--coverage", "build/price.o", "build/test_price.o", "-o", "build/tests"], check=True)
done = subprocess.run(["build/tests"], stdout=subprocess.PIPE, text=True)
cases = [line.split(" ", 1) for line in done.stdout.splitlines()]
bad = [name for name, said in cases if said != "ok"]
with open(build / "junit.xml", "w") as out:
    out.write(f'<testsuite name="price" tests="{len(cases)}" failures="{len(bad)}">')
    for name, said in cases:
        out.write(f'<testcase classname="price" name={quoteattr(name)}>')
        out.write("" if said == "ok" else f"<failure message={quoteattr(said)}/>")
        out.write("</testcase>")
    out.write("</testsuite>\n")
seen = subprocess.run(["gcov", "--json-format", "--stdout", "-o", "build", "price.c"], check=True, stdout=subprocess.PIPE)
lines = next(file["lines"] for file in json.loads(seen.stdout)["files"] if file["file"] == "price.c")
with open(build / "lcov.info", "w") as out:
    out.write("TN:\nSF:price.c\n")
    out.writelines(f"DA:{line['line_number']},{line['count']}\n" for line in lines)
    out.write(f"LF:{len(lines)}\nLH:{sum(line['count'] > 0 for line in lines)}\nend_of_record\n")
sys.exit(done.returncode)
