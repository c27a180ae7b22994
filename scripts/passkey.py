"""Passkeys in a real browser: a virtual authenticator is added at /settings and approves a release.

  scripts/python-tool browser python → that python scripts/passkey.py WRIT [FOLDER]

Makes a store with a reviewer, serves it at localhost, and looks at every step with axe, for violations of the content security
policy and for errors of scripts. Screenshots, light and dark, go to the folder.

A release that waits comes from the tests: run `http::passkeys::serves_a_release_that_waits` (ignored otherwise) with
WRIT_TEST_PASSKEY_FILE=FILE, then this with WRIT_TEST_PORT (the number in FILE), WRIT_TEST_RELEASE=R-2026-0001, WRIT_TEST_PERSON=rev and
WRIT_TEST_PASSWORD="correct horse battery"; the server ends when FILE is removed.
"""

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

import axe_playwright_python
from playwright.sync_api import sync_playwright

AXE = (pathlib.Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
PASSWORD = os.environ.get("WRIT_TEST_PASSWORD", "correct horse battery staple")
PERSON = os.environ.get("WRIT_TEST_PERSON", "rita")
DEVICE = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
          "isUserVerified": True, "automaticPresenceSimulation": True}
WATCH = """
window.__violations = [];
document.addEventListener('securitypolicyviolation', (event) => window.__violations.push(event.violatedDirective + ' ' + event.blockedURI));
"""
problems = []


def wrong(where, what):
    problems.append(f"{where}: {what}")
    print(f"  WRONG {where}: {what}", flush=True)


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextlib.contextmanager
def server(writ, home):
    """The demonstration's store with accounts: it has releases that wait, and rules for them."""
    port = free_port()
    environment = {**os.environ, "XDG_DATA_HOME": str(home), "WRIT_STORE": str(home / "store")}
    add = [writ, "server", "account", "add"]
    for name, role in (("olga", "operator"), ("rita", "reviewer")):
        done = subprocess.run([*add, name, "--role", role], input=PASSWORD + "\n", text=True, env=environment, capture_output=True)
        if done.returncode:
            sys.exit(f"error: no account {name}: {done.stderr}")
    log = open(home / "server.log", "wb")
    process = subprocess.Popen([writ, "serve", "--listen", f"127.0.0.1:{port}"], env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5).read()
                break
            except OSError:
                if process.poll() is not None:
                    sys.exit((home / "server.log").read_text())
                time.sleep(0.2)
        yield port
    finally:
        process.terminate()
        process.wait()


def look(page, name, folder):
    page.evaluate(AXE)
    for size, width in (("", 1360), ("-narrow", 390)):
        page.set_viewport_size({"width": width, "height": 900})
        for theme in ("light", "dark"):
            page.emulate_media(color_scheme=theme)
            page.screenshot(path=folder / f"{name}{size}-{theme}.png", full_page=True)
            found = page.evaluate("tags => axe.run(document, {runOnly: {type: 'tag', values: tags}, resultTypes: ['violations']})", TAGS)
            for violation in found["violations"]:
                nodes = "; ".join(" ".join(map(str, node["target"])) for node in violation["nodes"][:3])
                wrong(f"{name}{size}-{theme}", f"axe {violation['id']}: {nodes}")
            if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
                wrong(f"{name}{size}", "is wider than its window")
    page.set_viewport_size({"width": 1360, "height": 900})
    for one in page.evaluate("window.__violations || []"):
        wrong(name, f"CSP: {one}")


def sign_in(page, base, name):
    page.goto(f"{base}/sign-in?next=/settings")
    page.fill("input[name=name]", name)
    page.fill("input[name=password]", PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url("**/settings")


def story(browser, port, folder):
    base = f"http://localhost:{port}"
    context = browser.new_context(reduced_motion="reduce")
    context.add_init_script(WATCH)
    page = context.new_page()
    page.on("pageerror", lambda error: wrong("script", str(error)))
    page.on("console", lambda said: wrong("console", said.text) if said.type == "error" and "422" not in said.text else None)
    # Under an address the page says where passkeys work.
    sign_in(page, f"http://127.0.0.1:{port}", PERSON)
    if f"{base}/settings" not in page.locator("main").inner_text():
        wrong("address", "the page at 127.0.0.1 does not lead to localhost")
    look(page, "settings-at-an-address", folder)
    sign_in(page, base, PERSON)
    session = context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    device = session.send("WebAuthn.addVirtualAuthenticator", {"options": DEVICE})["authenticatorId"]
    look(page, "settings-without", folder)
    # A wrong password: the page says so, and nothing is made.
    form = page.get_by_role("form", name="Add a passkey")
    form.locator("input[name=name]").fill("Laptop")
    form.locator("input[name=current]").fill("not this one")
    form.locator("button").click()
    said = form.locator("[data-passkey-said]")
    page.locator("[data-passkey-said].wrong").wait_for()
    if "not right" not in said.inner_text():
        wrong("settings", f"a wrong password is answered with: {said.inner_text()}")
    look(page, "settings-refused", folder)
    # By keyboard alone.
    form.locator("input[name=current]").fill(PASSWORD)
    form.locator("input[name=current]").press("Enter")
    page.wait_for_url("**/settings#passkeys")
    if page.locator("table caption, h2", has_text="Your passkeys").count() == 0 or "Laptop" not in page.locator("main").inner_text():
        wrong("settings", "the new passkey is not listed")
    held = session.send("WebAuthn.getCredentials", {"authenticatorId": device})["credentials"]
    if len(held) != 1 or held[0]["rpId"] != "localhost":
        wrong("settings", f"the authenticator holds {held}")
    look(page, "settings-with", folder)
    # Cancelled: the authenticator does not verify its person.
    session.send("WebAuthn.setUserVerified", {"authenticatorId": device, "isUserVerified": False})
    removing = page.get_by_role("form", name="Remove a passkey")
    removing.locator("button").click()
    removing.locator("[data-passkey-said].wrong").wait_for(timeout=310_000)
    if "cancelled" not in removing.locator("[data-passkey-said]").inner_text():
        wrong("settings", f"cancelled is answered with: {removing.locator('[data-passkey-said]').inner_text()}")
    session.send("WebAuthn.setUserVerified", {"authenticatorId": device, "isUserVerified": True})
    release = os.environ.get("WRIT_TEST_RELEASE")
    if release:
        page.goto(f"{base}/releases/{release}")
        look(page, "release", folder)
        page.locator("input[name=note]").fill("Looked at every check")
        with page.expect_navigation(url=f"**/releases/{release}"):
            page.locator("button[value=approve]").click()
        if "webauthn" not in page.locator("main").inner_text():
            wrong("release", "the approval is not shown as one by passkey")
        look(page, "release-approved", folder)
        page.goto(f"{base}/settings")
    removing = page.get_by_role("form", name="Remove a passkey")
    removing.locator("button").click()
    page.locator("form[action='/settings/passkeys/end']").wait_for(state="detached", timeout=60_000)
    context.close()
    # Without scripts the page says that a passkey needs them.
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    sign_in(page, base, PERSON)
    if "needs JavaScript" not in page.locator("main").inner_text():
        wrong("without scripts", "the page does not say that a passkey needs JavaScript")
    context.close()


def main():
    writ, folder = os.path.abspath(sys.argv[1]), pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else "target/passkey")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory() as home, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=flags)
        base = os.environ.get("WRIT_TEST_PORT")
        with contextlib.nullcontext(int(base)) if base else server(writ, pathlib.Path(home)) as port:
            story(browser, port, folder)
        version = browser.version
        browser.close()
    print(f"passkeys: Chromium {version}, {len(problems)} problems; {folder}")
    sys.exit(1 if problems else 0)


main()
