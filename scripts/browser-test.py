"""The browser test of the dashboard; started by scripts/browser-test, which provides Playwright and axe."""

import argparse
import contextlib
import json
import pathlib
import re
import shutil
import subprocess
import sys
import time
import urllib.request

import axe_playwright_python
from playwright.sync_api import sync_playwright

from storylib.browser import WATCH, launch, listen, violations
from storylib.tools import free_ports

ROOT = pathlib.Path(__file__).resolve().parent.parent
AXE = (pathlib.Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
FIRST_PAGE_BYTES = 150 << 10
PATIENCE = 300  # seconds until a server must answer, on a busy machine
WIDE, NARROW = {"width": 1360, "height": 900}, {"width": 390, "height": 844}

# Pages with an address of their own.
FIXED = {
    "overview": "/",
    "inbox": "/inbox",
    "changes": "/changes",
    "releases": "/releases",
    "break-glass": "/break-glass",
    "break-glass-new": "/break-glass/new",
    "exemption-new": "/exemptions/new?control=VUL-01",
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
    "search-nothing": "/search?q=nothing-is-called-this",
    "keys": "/admin/keys",
    "integrations": "/admin/integrations",
    "health": "/admin/health",
    "sign-in": "/sign-in",
    "device": "/device",
    "not-found": "/nothing/here",
}
# The first link of a list that looks so. A blocked change is the one worth looking at.
LINKED = {
    "change": ("/changes", "/changes/", "main tr:has(.st.fail)"),
    "change-good": ("/changes", "/changes/", "main tr:has(.st.pass)"),
    "run": ("/runs", "/runs/", "main tr"),
    "decision": ("/changes", "/d/", "main tr:has(.st.fail)"),
    "decision-good": ("/changes", "/d/", "main tr:has(.st.pass)"),
    "finding": ("/findings", "/findings/", "main tr"),
    "exemption": ("/exemptions", "/exemptions/EX-", "main tr"),
    "release": ("/releases", "/releases/R-", "main tr:has(.st.pass)"),
    "release-blocked": ("/releases", "/releases/R-", "main tr:has(.st.fail)"),
    "emergency": ("/break-glass", "/break-glass/BG-", "main tr"),
    "item": ("/evidence?type=container-scan", "/e/", "main tr"),
}
PRINTED = ["overview", "change", "decision", "controls", "control", "item", "finding"]
# What sticks out of the page, and by how much.
OVERFLOW = """() => {
  const page = document.documentElement;
  const more = page.scrollWidth - page.clientWidth;
  if (more <= 0) return null;
  const out = [...document.querySelectorAll('body *')].filter((one) => {
    if (one.getBoundingClientRect().right <= page.clientWidth + 1) return false;
    for (let up = one.parentElement; up && up !== page; up = up.parentElement)
      if (/auto|scroll|hidden/.test(getComputedStyle(up).overflowX)) return false;
    return true;
  });
  const name = (one) => one.tagName.toLowerCase() + (one.id ? '#' + one.id : '') + [...one.classList].map((c) => '.' + c).join('');
  return more + ' px: ' + out.slice(0, 4).map(name).join(', ');
}"""
# Whether the place of the keyboard can be seen.
FOCUS = """() => {
  const one = document.activeElement;
  if (!one || one === document.body) return null;
  const look = getComputedStyle(one);
  const seen = look.outlineStyle !== 'none' && parseFloat(look.outlineWidth) >= 2;
  return {seen, what: one.outerHTML.slice(0, 120)};
}"""


class Test:
    def __init__(self, base, browser, keep):
        self.base, self.browser, self.keep = base, browser, keep
        self.problems = []
        self.looked = 0

    def wrong(self, where, what):
        self.problems.append(f"{where}: {what}")
        print(f"  WRONG {where}: {what}", flush=True)

    @contextlib.contextmanager
    def context(self, viewport=WIDE, **options):
        context = self.browser.new_context(viewport=viewport, base_url=self.base, reduced_motion="reduce", **options)
        context.add_init_script(WATCH)
        try:
            yield context
        finally:
            context.close()

    def open(self, context, name, path, expected=200):
        """Opens a page and listens for everything that a person would not see."""
        page = context.new_page()
        listen(page, self.base, lambda got: got.status >= 400 and got.url != self.base + path)
        answer = page.goto(path, wait_until="load")
        if answer.status != expected:
            self.wrong(name, f"{path} answered {answer.status}")
        return page

    def heard(self, page, name, expected=200):
        for one in page.heard + violations(page):
            # Chromium says so of the page itself when it is a 404.
            if not (expected == 404 and "404" in one):
                self.wrong(name, one)

    def axe(self, page, name):
        found = page.evaluate("tags => axe.run(document, {runOnly: {type: 'tag', values: tags}, resultTypes: ['violations']})", TAGS)
        for violation in found["violations"]:
            nodes = "; ".join(
                f"{' '.join(map(str, node['target']))} ({' '.join(node['failureSummary'].split())[:200]})"
                for node in violation["nodes"][:3]
            )
            self.wrong(name, f"axe {violation['id']} on {len(violation['nodes'])}: {nodes}")
        if not found["passes"]:
            self.wrong(name, "axe looked at nothing")
        self.looked += len(found["passes"])

    def fits(self, page, name):
        more = page.evaluate(OVERFLOW)
        if more:
            self.wrong(name, f"is wider than its window by {more}")

    def every_page(self, pages):
        with self.context() as context:
            for name, path in pages.items():
                expected = 404 if name == "not-found" else 200
                page = self.open(context, name, path, expected)
                page.evaluate(AXE)
                for size, viewport in (("", WIDE), ("-narrow", NARROW)):
                    page.set_viewport_size(viewport)
                    for theme in ("light", "dark"):
                        page.emulate_media(color_scheme=theme)
                        view = f"{name}{size}-{theme}"
                        self.fits(page, view)
                        self.axe(page, view)
                        page.screenshot(path=self.keep / f"{view}.png", full_page=True)
                self.heard(page, name, expected)
                page.close()

    def printed(self, pages):
        # A4 at 96 dots an inch, without the margins.
        with self.context({"width": 688, "height": 1000}) as context:
            for name in PRINTED:
                page = self.open(context, name, pages[name])
                page.emulate_media(media="print", color_scheme="dark")
                view = f"{name}-print"
                for hidden in ("nav.side", "header.bar", ".filters", ".forms"):
                    if page.locator(hidden).first.is_visible():
                        self.wrong(view, f"{hidden} is printed")
                for shown in ("h1", "dl.ref", ".legend"):
                    if not page.locator(shown).first.is_visible():
                        self.wrong(view, f"{shown} is not printed")
                # A dark screen must not make dark paper.
                look = page.evaluate("[...document.querySelectorAll('html, table, .card, .pane, .verdict, .strip')].map(one => getComputedStyle(one)).map(look => look.backgroundColor + ' ' + look.color)")
                for one in sorted(set(look) - {"rgb(255, 255, 255) rgb(0, 0, 0)", "rgba(0, 0, 0, 0) rgb(0, 0, 0)"}):
                    self.wrong(view, f"is printed as {one}")
                self.fits(page, view)
                page.screenshot(path=self.keep / f"{view}.png", full_page=True)
                page.pdf(path=self.keep / f"{view}.pdf", prefer_css_page_size=True)
                page.close()

    def links(self):
        """Addresses of single things, from the lists."""
        found = {}
        with self.context() as context:
            page = context.new_page()
            for name, (where, prefix, rows) in LINKED.items():
                page.goto(where)
                hrefs = page.eval_on_selector_all(f"{rows} a[href]", "all => all.map(one => one.getAttribute('href'))")
                links = [one for one in hrefs if re.match(re.escape(prefix) + r"[^?#]+$", one)]
                if links:
                    found[name] = links[0]
                else:
                    self.wrong(name, f"{where} links to none")
        return found

    def first_page_is_light(self):
        with self.context() as context:
            page = context.new_page()
            page.goto("/", wait_until="networkidle")
            sizes = page.evaluate(
                "performance.getEntriesByType('navigation').concat(performance.getEntriesByType('resource')).map(one => [one.name, one.transferSize])"
            )
            total = sum(size for _, size in sizes)
            print(f"first page: {len(sizes)} requests, {total:,} bytes", flush=True)
            if total > FIRST_PAGE_BYTES:
                self.wrong("overview", f"the first page loads {total} bytes: {sizes}")

    def keyboard(self, pages):
        with self.context() as context:
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
            page.wait_for_url("**name=CVE-2026-91817*")  # a known name leads there directly
            page.keyboard.press("?")
            if not page.locator("dialog#keys").is_visible():
                self.wrong("keyboard", "? does not list the keys")
            for name in ("overview", "decision", "controls", "item"):
                page.goto(pages[name])
                stops = 0
                for _ in range(60):
                    page.keyboard.press("Tab")
                    focus = page.evaluate(FOCUS)
                    if focus is None:
                        break
                    stops += 1
                    if not focus["seen"]:
                        self.wrong(name, f"the focus cannot be seen on {focus['what']}")
                if stops < 15:
                    self.wrong(name, f"only {stops} stops for the keyboard")

    def without_scripts(self):
        """Filters, themes, the search and the past are plain forms."""
        with self.context(java_script_enabled=False) as context:
            page = context.new_page()
            page.goto("/findings")
            form = page.locator("main form.filters").first
            form.locator("select[name=severity]").select_option("high")
            form.locator("button[type=submit], button:not([type])").first.click()
            if "severity=high" not in page.url:
                self.wrong("without scripts", f"the filter leads to {page.url}")
            page.goto("/controls")
            page.locator("form.at input[name=at]").fill(time.strftime("%Y-%m-%d", time.gmtime(time.time() - 20 * 86400)))
            page.locator("form.at button").click()
            if "at=" not in page.url or not page.locator(".band.past").is_visible():
                self.wrong("without scripts", f"the past is not shown: {page.url}")
            page.goto("/changes")
            page.locator("form[action='/settings/theme'] button").first.click()
            if page.locator("html").get_attribute("data-theme") != "dark" or not page.url.endswith("/changes"):
                self.wrong("without scripts", "the theme does not change where one is")

    def hostile(self, most):
        """Follows every link of a store full of planted scripts. None of them may run or lead away."""
        waiting, seen, shapes = ["/"] + list(FIXED.values()), set(), {}
        with self.context() as context:
            page = context.new_page()
            heard = []
            page.on("dialog", lambda dialog: (heard.append(f"dialog: {dialog.message}"), dialog.dismiss()))
            page.on("pageerror", lambda error: heard.append(f"script: {error}"))
            page.on("console", lambda said: heard.append(f"console: {said.text}") if said.type == "error" and "404" not in said.text else None)
            page.on("request", lambda asked: None if asked.url.startswith(self.base + "/") else heard.append(f"asks {asked.url}"))
            while waiting:
                path = waiting.pop(0)
                shape = "/".join(path.split("?")[0].split("/")[:2]) + ("?" if "?" in path else "")
                if path in seen or shapes.get(shape, 0) >= most:
                    continue
                seen.add(path)
                shapes[shape] = shapes.get(shape, 0) + 1
                answer = page.goto(path)
                if answer.status >= 500:
                    self.wrong(path, f"answered {answer.status}")
                marks = page.evaluate("[window.__violations, Object.keys(window).filter((name) => name.startsWith('writXss')), document.querySelectorAll('[data-planted]').length]")
                heard += [f"CSP: {one}" for one in marks[0]] + [f"a planted script ran: {one}" for one in marks[1]]
                if marks[2]:
                    heard.append(f"{marks[2]} planted elements")
                for bad in page.eval_on_selector_all("a[href], form[action]", "all => all.map(one => one.getAttribute('href') || one.getAttribute('action')).filter(one => !/^[/#]/.test(one) || one.startsWith('//'))"):
                    heard.append(f"leads to {bad}")
                for one in heard:
                    self.wrong(path, one)
                heard.clear()
                hrefs = page.eval_on_selector_all("a[href]", "all => all.filter(one => !one.download).map(one => one.getAttribute('href'))")
                waiting += [one.split("#")[0] for one in hrefs if one.startswith("/") and not re.match(r"/(api|ledger)/", one) and not re.search(r"\.(json|csv|md)(\?|$)", one)]
        print(f"hostile store: {len(seen)} pages", flush=True)
        if len(seen) < 30:
            self.wrong("hostile store", f"only {len(seen)} pages")


@contextlib.contextmanager
def server(command, log):
    """A server on a port of its own; `command` takes the address last."""
    address = f"127.0.0.1:{free_ports(1)[0]}"
    base = f"http://{address}"
    with open(log, "wb") as out:
        process = subprocess.Popen([*command, address], stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        try:
            end = time.monotonic() + PATIENCE
            while True:
                try:
                    urllib.request.urlopen(base + "/readyz", timeout=5).read()
                    break
                except OSError:
                    if process.poll() is not None or time.monotonic() > end:
                        sys.exit(f"error: {command[0]} does not answer; see {log}")
                    time.sleep(0.1)
            yield base
        finally:
            process.terminate()
            process.wait()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("writ", nargs="?", default="target/release/writ")
    parser.add_argument("--hostile", help="a program that serves a store full of planted scripts at an address")
    parser.add_argument("--keep", type=pathlib.Path, default=ROOT / "target/browser")
    parser.add_argument("--base", help="a demonstration that runs already, at this address")
    parser.add_argument("--only", help="pages whose names match this expression")
    options = parser.parse_args()
    shutil.rmtree(options.keep, ignore_errors=True)
    options.keep.mkdir(parents=True)
    begin = time.monotonic()
    with sync_playwright() as play:
        browser = launch(play)
        demo = contextlib.nullcontext(options.base) if options.base else server([options.writ, "serve", "--demo", "--listen"], options.keep / "server.log")
        with demo as base:
            test = Test(base, browser, options.keep)
            past = "/?at=" + time.strftime("%Y-%m-%d", time.gmtime(time.time() - 30 * 86400))
            pages = {**FIXED, **test.links(), "past": past}
            if options.only:
                test.every_page({name: path for name, path in pages.items() if re.search(options.only, name)})
            else:
                test.first_page_is_light()
                test.every_page(pages)
                test.printed(pages)
                test.keyboard(pages)
                test.without_scripts()
        if options.hostile:
            with server([options.hostile], options.keep / "hostile.log") as base:
                test.base = base
                test.hostile(8)
        version = browser.version
        browser.close()
    (options.keep / "result.json").write_text(json.dumps({"pages": pages, "problems": test.problems}, indent=1))
    took = time.monotonic() - begin
    print(f"browser test: {len(pages)} pages, Chromium {version}, {test.looked} checks of axe, {len(test.problems)} problems in {took:.0f} s; {options.keep}")
    sys.exit(1 if test.problems else 0)


main()
