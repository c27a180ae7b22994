"""Chromium as the tests start it, and ears for everything that a person would not see."""

import os
import pathlib

import axe_playwright_python

from .tools import program

AXE = (pathlib.Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

FLAGS = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
# Counts what the page's policy forbade; run in every page before its own scripts.
WATCH = """
window.__violations = [];
document.addEventListener('securitypolicyviolation', (event) => {
  window.__violations.push(event.violatedDirective + ' ' + event.blockedURI + ' ' + event.sourceFile);
});
"""


def launch(play):
    """Debian's Chromium; it does not sandbox root."""
    flags = FLAGS + (["--no-sandbox"] if os.geteuid() == 0 else [])
    return play.chromium.launch(executable_path=program("chromium", "chromium-browser", "google-chrome"), args=flags)


def listen(page, base, refused=lambda answer: answer.status >= 400):
    """Collects console messages, errors of scripts, requests to elsewhere and refused answers in `page.heard`."""
    page.heard = heard = []
    page.on("console", lambda said: heard.append(f"console: {said.text}") if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: heard.append(f"script: {error}"))
    page.on("dialog", lambda dialog: (heard.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on("request", lambda asked: None if asked.url.startswith((base + "/", "data:")) else heard.append(f"asks {asked.url}"))
    page.on("requestfailed", lambda asked: heard.append(f"fails {asked.url}: {asked.failure}"))
    page.on("response", lambda got: heard.append(f"{got.status} {got.url}") if refused(got) else None)


def violations(page):
    """What the page's policy forbade since it was loaded."""
    return [f"CSP: {one}" for one in page.evaluate("window.__violations || []")]


def examined(page, path):
    """Takes pictures of a page, and gives for each which one it is and what is wrong with it."""
    page.evaluate(AXE)
    for size, width in (("", 1360), ("-narrow", 390)):
        page.set_viewport_size({"width": width, "height": 900})
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)
            which = f"{path.name}{size}-{theme}"
            page.screenshot(path=path.with_name(f"{which}.png"), full_page=True)
            found = page.evaluate("tags => axe.run(document, {runOnly: {type: 'tag', values: tags}, resultTypes: ['violations']})", TAGS)
            wrong = [f"{one['id']}: " + "; ".join(str(node["target"]) for node in one["nodes"][:3]) for one in found["violations"]]
            if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
                wrong.append("is wider than its window")
            yield which, wrong
    page.emulate_media(color_scheme="light")
