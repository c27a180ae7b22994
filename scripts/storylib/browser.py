"""Chromium as the tests start it, and ears for everything that a person would not see."""

import os

from .tools import program

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
