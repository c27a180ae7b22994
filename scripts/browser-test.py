"""The browser test of the dashboard; started by scripts/browser-test, which provides Playwright and axe."""

import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import urllib.request

import axe_playwright_python
from playwright.sync_api import sync_playwright

ROOT = pathlib.Path(__file__).resolve().parent.parent
AXE = (pathlib.Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
FIRST_PAGE_BYTES = 150 << 10
PATIENCE = 300  # seconds until the demonstration must answer, on a busy machine

# Pages with an address of their own.
FIXED = {
    "overview": "/",
    "changes": "/changes",
    "runs": "/runs",
    "environments": "/environments",
    "production": "/environments/production",
    "findings": "/findings",
    "findings-filtered-away": "/findings?q=no-finding-is-called-this",
    "exemptions": "/exemptions",
    "controls": "/controls",
    "controls-soc2": "/controls?framework=soc2",
    "control": "/controls/VUL-01",
    "evidence": "/evidence",
    "search": "/search",
    "search-cve": "/search?q=CVE-2026-91817",
    "health": "/admin/health",
    "not-found": "/nothing/here",
}
# The first link of a list that looks so.
LINKED = {
    "change": ("/changes", "/changes/"),
    "run": ("/runs", "/runs/"),
    "decision": ("/changes", "/d/"),
    "finding": ("/findings", "/findings/"),
    "exemption": ("/exemptions", "/exemptions/"),
    "item": ("/evidence", "/e/"),
}
WATCH = """
window.__violations = [];
document.addEventListener('securitypolicyviolation', (event) => {
  window.__violations.push(event.violatedDirective + ' ' + event.blockedURI + ' ' + event.sourceFile);
});
"""


class Test:
    def __init__(self, base, browser, keep):
        self.base, self.browser, self.keep = base, browser, keep
        self.problems = []
        self.looked = 0

    def wrong(self, where, what):
        self.problems.append(f"{where}: {what}")
        print(f"  WRONG {where}: {what}", flush=True)

    def context(self, theme, width, height, **options):
        context = self.browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=theme, base_url=self.base,
            reduced_motion="reduce", **options,
        )
        context.add_init_script(WATCH)
        return context

    def open(self, page, name, path):
        """Opens a page and complains about everything that a person would not see."""
        heard = []
        page.on("console", lambda said: heard.append(f"console: {said.text}") if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: heard.append(f"script: {error}"))
        page.on("request", lambda asked: None if asked.url.startswith((self.base, "data:")) else heard.append(f"asks {asked.url}"))
        page.on("response", lambda got: heard.append(f"{got.status} {got.url}") if got.status >= 400 and got.url != self.base + path else None)
        answer = page.goto(path, wait_until="networkidle")
        expected = 404 if name == "not-found" else 200
        if answer.status != expected:
            self.wrong(name, f"answered {answer.status}")
        heard += [f"CSP: {one}" for one in page.evaluate("window.__violations || []")]
        for one in heard:
            # Chromium says so of the page itself when it is a 404.
            if not (expected == 404 and "404" in one):
                self.wrong(name, one)

    def axe(self, page, name):
        page.evaluate(AXE)
        found = page.evaluate("tags => axe.run(document, {runOnly: {type: 'tag', values: tags}})", TAGS)
        for violation in found["violations"]:
            nodes = "; ".join(
                f"{' '.join(map(str, node['target']))} ({' '.join(node['failureSummary'].split())[:200]})"
                for node in violation["nodes"][:3]
            )
            self.wrong(name, f"axe {violation['id']} on {len(violation['nodes'])}: {nodes}")
        if not found["passes"]:
            self.wrong(name, "axe looked at nothing")
        self.looked += len(found["passes"])

    def narrow_fits(self, page, name):
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if wide > 0:
            self.wrong(name, f"is {wide} px wider than a telephone")

    def shoot(self, page, name):
        page.screenshot(path=self.keep / f"{name}.png", full_page=True)

    def every_page(self, pages):
        for theme in ("light", "dark"):
            context = self.context(theme, 1360, 900)
            for name, path in pages.items():
                page = context.new_page()
                self.open(page, f"{name}-{theme}", path) if name != "not-found" else self.open(page, "not-found", path)
                self.axe(page, f"{name}-{theme}")
                self.shoot(page, f"{name}-{theme}")
                page.close()
            context.close()
        for name, path in pages.items():
            context = self.context("light", 390, 844)
            page = context.new_page()
            self.open(page, name, path)
            self.narrow_fits(page, f"{name}-narrow")
            self.axe(page, f"{name}-narrow")
            self.shoot(page, f"{name}-narrow")
            context.close()
        context = self.context("light", 1000, 1400)
        for name in ("overview", "change", "decision", "controls", "item"):
            page = context.new_page()
            self.open(page, name, pages[name])
            page.emulate_media(media="print")
            self.shoot(page, f"{name}-print")
            page.close()
        context.close()

    def links(self):
        """Addresses of single things, from the lists."""
        found = {}
        context = self.context("light", 1360, 900)
        page = context.new_page()
        for name, (where, prefix) in LINKED.items():
            page.goto(where)
            hrefs = page.eval_on_selector_all("main a[href]", "all => all.map(one => one.getAttribute('href'))")
            links = [one for one in hrefs if re.match(re.escape(prefix) + r"[^?#]+$", one)]
            if links:
                found[name] = links[0]
            elif name == "decision":
                page.goto(found["change"])
                hrefs = page.eval_on_selector_all("main a[href]", "all => all.map(one => one.getAttribute('href'))")
                found[name] = next(one for one in hrefs if one.startswith(prefix)).split("#")[0]
            else:
                self.wrong(name, f"{where} links to none")
        context.close()
        return found

    def first_page_is_light(self):
        context = self.context("light", 1360, 900)
        page = context.new_page()
        page.goto("/", wait_until="networkidle")
        sizes = page.evaluate(
            "performance.getEntriesByType('navigation').concat(performance.getEntriesByType('resource')).map(one => [one.name, one.transferSize])"
        )
        total = sum(size for _, size in sizes)
        print(f"first page: {len(sizes)} requests, {total:,} bytes", flush=True)
        if total > FIRST_PAGE_BYTES:
            self.wrong("overview", f"the first page loads {total} bytes: {sizes}")
        context.close()

    def keyboard(self):
        context = self.context("light", 1360, 900)
        page = context.new_page()
        page.goto("/")
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.className") != "skip":
            self.wrong("keyboard", "the first stop is not the link that skips the navigation")
        page.keyboard.press("Enter")
        page.keyboard.press("g")
        page.keyboard.press("f")
        page.wait_for_url("**/findings")
        page.keyboard.press("/")
        if page.evaluate("document.activeElement.name") != "q":
            self.wrong("keyboard", "/ does not lead to the search")
        page.keyboard.type("CVE-2026-91817")
        page.keyboard.press("Enter")
        page.wait_for_url("**/search?q=*")
        context.close()

    def without_scripts(self):
        """Filters, themes and the search are plain forms."""
        context = self.context("light", 1360, 900, java_script_enabled=False)
        page = context.new_page()
        page.goto("/findings")
        form = page.locator("main form[method=get]").first
        form.locator("select[name=severity]").select_option("high")
        form.locator("button[type=submit], button:not([type])").first.click()
        if "severity=high" not in page.url:
            self.wrong("without scripts", f"the filter leads to {page.url}")
        page.goto("/changes")
        page.locator("form[action='/settings/theme'] button").first.click()
        if page.locator("html").get_attribute("data-theme") != "dark" or not page.url.endswith("/changes"):
            self.wrong("without scripts", "the theme does not change where one is")
        context.close()


def free_port():
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def chromium():
    for name in ("chromium", "chromium-browser", "google-chrome"):
        path = shutil.which(name)
        if path:
            return path
    sys.exit("error: Chromium is missing: apt-get install chromium")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("writ", nargs="?", default="target/debug/writ")
    parser.add_argument("--keep", type=pathlib.Path, default=ROOT / "target/browser-test")
    parser.add_argument("--base", help="a demonstration that is running already")
    options = parser.parse_args()
    shutil.rmtree(options.keep, ignore_errors=True)
    options.keep.mkdir(parents=True)
    server, base = None, options.base
    try:
        if base is None:
            port = free_port()
            base = f"http://127.0.0.1:{port}"
            log = open(options.keep / "server.log", "wb")
            server = subprocess.Popen(
                [options.writ, "serve", "--demo", "--listen", f"127.0.0.1:{port}"],
                stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            )
            end = time.monotonic() + PATIENCE
            while True:
                try:
                    urllib.request.urlopen(base + "/readyz", timeout=5).read()
                    break
                except OSError:
                    if server.poll() is not None or time.monotonic() > end:
                        sys.exit(f"error: the demonstration does not answer; see {log.name}")
                    time.sleep(0.2)
        flags = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
                 "--disable-component-update", "--disable-sync"]
        if os.geteuid() == 0:
            flags.append("--no-sandbox")
        with sync_playwright() as play:
            browser = play.chromium.launch(executable_path=chromium(), args=flags)
            test = Test(base, browser, options.keep)
            pages = {**FIXED, **test.links(), "past": "/?at=" + time.strftime("%Y-%m-%d", time.gmtime(time.time() - 30 * 86400))}
            test.first_page_is_light()
            test.every_page(pages)
            test.keyboard()
            test.without_scripts()
            version = browser.version
            browser.close()
    finally:
        if server is not None:
            server.terminate()
            server.wait()
    (options.keep / "result.json").write_text(json.dumps({"pages": pages, "problems": test.problems}, indent=1))
    print(f"browser test: {len(pages)} pages, Chromium {version}, {test.looked} checks of axe, {len(test.problems)} problems; {options.keep}")
    sys.exit(1 if test.problems else 0)


main()
