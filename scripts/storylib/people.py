"""People in browsers: they sign in, look, press buttons, and are told why they may not."""

import base64
import contextlib
import hmac
import struct
import time
import urllib.parse

from playwright.sync_api import Error as BrowserError

from . import browser
from .tools import Away, PATIENCE, flat, must
from .world import PASSKEYS, PASSWORD

WIDE = {"width": 1360, "height": 900}
STEP = 30  # seconds of a one-time code


class OneTimeCode:
    """How somebody proves who they are: a password and a code of a telephone (RFC 6238).

    Another way is another class with the methods below `code`.
    """

    def __init__(self):
        self.secret, self.last = None, 0

    def code(self):
        """A code that was not used yet: each counts once, and from one step before its time to one after."""
        # The step before this one, unless its time is over before the form arrives.
        step = max(self.last + 1, int(time.time() - STEP + 5) // STEP)
        while step > int(time.time()) // STEP + 1:
            time.sleep(0.2)
        self.last = step
        mark = hmac.digest(self.secret, struct.pack(">Q", step), "sha1")
        at = mark[-1] & 15
        return f"{(struct.unpack('>I', mark[at:at + 4])[0] & 0x7FFFFFFF) % 1_000_000:06}"

    def set_up(self, person):
        """At the person's own settings, once."""
        person.does("sets up one-time codes", "/settings", "Set up one-time codes", done="Use codes")
        shown = person.page.locator("form:has(input[value=confirm])").locator("xpath=preceding::code[1]").inner_text()
        self.secret = base64.b32decode("".join(shown.split()) + "=" * (-len("".join(shown.split())) % 8))
        person.does("confirms the first one-time code", "/settings", "Use codes", lambda page: page.fill("#code", self.code()), done="Do without codes")

    def signing_in(self, page):
        """What the form of the sign-in asks for beside name and password."""
        if self.secret:
            page.fill("#code", self.code())

    def approving(self, page):
        """What an answer to a release asks for beside a note: nothing more, the session knows how it began."""

    def confirm(self, page):
        """What a form asks for that wants to know once more who it is."""
        page.fill("#password", PASSWORD)
        page.fill("#code", self.code())


class Passkey:
    """How somebody signs what they answer: with an authenticator of the browser's own (WebAuthn).

    They sign in by password, and with one-time codes where they had some before.
    """

    DEVICE = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
              "isUserVerified": True, "automaticPresenceSimulation": True}

    def __init__(self, codes=None):
        self.codes = codes

    def set_up(self, person):
        """At the person's own settings, once."""
        name = f"Laptop of {person.name}"
        # The authenticator is there as long as this session with the browser is.
        self.session = person.context.new_cdp_session(person.page)
        self.session.send("WebAuthn.enable")
        self.device = self.session.send("WebAuthn.addVirtualAuthenticator", {"options": self.DEVICE})["authenticatorId"]

        def fill(page):
            page.fill("#passkey-name", name)
            page.fill("#passkey-password-add", PASSWORD)
            if self.codes:
                page.fill("#passkey-code-add", self.codes.code())

        person.does("adds a passkey", "/settings", "Add a passkey", fill, done=name)
        held = self.session.send("WebAuthn.getCredentials", {"authenticatorId": self.device})["credentials"]
        must(held and all(one["rpId"] == "localhost" for one in held), f"the authenticator of {person.name} holds {held}")

    def verifies(self, yes):
        """Whether the authenticator finds that its person is there: a finger, a face, a number."""
        self.session.send("WebAuthn.setUserVerified", {"authenticatorId": self.device, "isUserVerified": yes})

    def signing_in(self, page):
        """What the form of the sign-in asks for beside name and password."""
        if self.codes:
            self.codes.signing_in(page)

    def approving(self, page):
        """What an answer to a release asks for beside a note: the page's script asks the authenticator."""
        must(page.locator("#decide [data-passkey]").count() == 1, "the form of the answer asks for no passkey")

    def confirm(self, page):
        """What a form asks for that wants to know once more who it is: the password stays empty."""
        must(page.locator("[data-passkey]").count() == 1, "the form asks for no passkey")


class Person:
    """Somebody with a browser of their own."""

    def __init__(self, people, name):
        self.people, self.name = people, name
        self.proof = Passkey() if name in PASSKEYS else OneTimeCode()
        world = people.world
        self.context = people.browser.new_context(viewport=WIDE, base_url=world.name, reduced_motion="reduce")
        self.context.add_init_script(browser.WATCH)
        self.context.set_default_timeout(20_000)
        self.page = self.context.new_page()
        self.sign_in()
        self.proof.set_up(self)
        self.context.clear_cookies()
        self.sign_in()
        cookie = self.context.cookies()[0]
        self.cookie = f"{cookie['name']}={cookie['value']}"
        # Signing in leaves a page behind that nobody judges.
        browser.listen(self.page, world.name, lambda answer: answer.status >= 400 and not answer.request.is_navigation_request())

    def sign_in(self):
        self.page.goto("/sign-in")
        self.page.fill("#name", self.name)
        self.page.fill("#password", PASSWORD)
        self.proof.signing_in(self.page)
        self.page.click("button:has-text('Sign in')")
        must("/sign-in" not in self.page.url, f"{self.name} cannot sign in: {flat(self.page.inner_text('body'))[:300]}")

    def _load(self, path):
        answer = self.page.goto(path, wait_until="load")
        if answer.status >= 500:
            raise Away(f"{path} answered {answer.status} to {self.name}: {self.text()[:400]}")
        return answer

    def looks(self, path, *parts):
        """Opens a page, which must be clean and say all of these."""
        self._again(f"looks at {path}", lambda _: self._load(path))
        self.clean(path)
        text = self.text()
        for part in parts:
            must(part in text, f"{path} does not say {part!r} to {self.name}: {text[:3000]}")
        return text

    def text(self):
        return flat(self.page.inner_text("body"))

    def clean(self, where):
        """Nothing was heard that a person would not see."""
        heard = getattr(self.page, "heard", []) + browser.violations(self.page)
        # Chromium says so of a page that was refused, which is what the page itself says; of what it no longer needs because
        # somebody moved on; and of passkeys that are asked to be ES256 or Ed25519, not RSA.
        said = ("the server responded with a status of 4", "net::ERR_ABORTED", "publicKey.pubKeyCredParams is missing")
        heard = [one for one in heard if not any(part in one for part in said)]
        must(not heard, f"{where}, seen by {self.name}: {heard}")

    def does(self, what, path, button, fill=lambda page: None, done=None, found=None, refused=None):
        """Opens a page, fills in its form and presses a button.

        `done` is what the page says afterwards; who lost the answer sees it there, or in the list `found`.
        `refused` is what must be said instead: then the button is off and says why, and who presses it all the same is refused.
        Gives the text of the page that is shown then.
        """
        def act(attempt):
            if attempt and done:
                self._load(found or path)
                if done in self.text():
                    return None
            self._load(path)
            pressed = self.page.get_by_role("button", name=button, exact=True)
            must(pressed.count() == 1, f"{path} has {pressed.count()} buttons {button!r} for {self.name}: {self.text()[:2000]}")
            if refused:
                if pressed.is_disabled():
                    must(refused in self.text(), f"{path} does not say {refused!r} beside its button to {self.name}: {self.text()[:3000]}")
                    # What somebody does who knows how browsers work.
                    self.page.evaluate("document.querySelectorAll('main [disabled]').forEach((one) => one.disabled = false)")
                # Refused is the form itself, and not its script.
                self.page.evaluate("document.querySelectorAll('[data-passkey]').forEach((one) => one.remove())")
            fill(self.page)
            self.page.evaluate("window.__pressed = true")
            with self.page.expect_navigation(wait_until="load") as navigation:
                pressed.click()
                self._sent()
            return navigation.value

        answer = self._again(what, act)
        text = self.text()
        if refused:
            must(answer.status in (400, 403, 409, 422), f"{what} by {self.name} was answered with {answer.status}: {text[:2000]}")
            must(refused in text, f"{what} by {self.name} is not refused with {refused!r}: {text[:3000]}")
            must("Nothing was changed by this request" in text, f"{what}: {text[:2000]}")
        elif answer:
            must(answer.status < 400, f"{what} by {self.name} was answered with {answer.status}: {text[:3000]}")
            must(done is None or done in text, f"{what} by {self.name}: the page does not say {done!r}: {text[:3000]}")
        self.clean(what)
        return text

    def _sent(self):
        """Waits until the form is sent; the script that asks for a passkey may say why it is not."""
        end = time.monotonic() + PATIENCE
        said = ""
        while said is not None and time.monotonic() < end:
            if said:
                # What the browser has to say of that comes a moment later.
                self.page.wait_for_timeout(100)
                getattr(self.page, "heard", []).clear()
                raise Away(f"{self.name} has sent nothing: {said}")
            self.page.wait_for_timeout(20)
            try:
                said = self.page.evaluate("window.__pressed ? document.querySelector('[data-passkey-said].wrong')?.textContent || '' : null")
            except BrowserError:
                # One page is gone, the next not there.
                return

    def _again(self, what, act):
        """Does something; where the server went away meanwhile, again, as people do."""
        def tried(attempt):
            try:
                answer = act(attempt)
                if answer and answer.status >= 500:
                    raise Away(f"{self.name} {what}: answered {answer.status}: {self.text()[:2000]}")
                return answer
            except BrowserError as error:
                if hasattr(self.page, "heard"):
                    self.page.heard.clear()
                raise Away(f"{self.name} {what}: {error}") from error
        return self.people.world.asks(f"{self.name} {what}", tried)

    def posts(self, path, fields):
        """Hands in a form without a browser, with the cookie and the token of the session: status and text."""
        data = urllib.parse.urlencode({**fields, "form_token": self.token()}).encode()
        status, _, text = self.people.world.send(path, data, cookie=self.cookie)
        return status, text

    def token(self):
        """The token of the session that forms carry."""
        page = self.people.world.get("/settings", self.cookie)[0]
        return page.split('name="form_token" value="', 1)[1].split('"', 1)[0]

    def photograph(self, name, part=None):
        """Keeps what this person sees."""
        self.people.shots += 1
        path = self.people.world.keep / f"{self.people.shots:02}-{name}.png"
        if part:
            self.page.locator(part).first.scroll_into_view_if_needed()
        self.page.screenshot(path=path, full_page=not part)

    def examines(self, name):
        """What a page looks like in the light and in the dark, on a screen and on a telephone; it must be accessible."""
        self.people.shots += 1
        for which, found in browser.examined(self.page, self.people.world.keep / f"{self.people.shots:02}-{name}"):
            must(not found, f"{which}, seen by {self.name}: {found}")
        self.page.set_viewport_size(WIDE)
        self.clean(name)

    # What the story asks of them.

    def confirms_nothing(self, release):
        """Somebody else at this browser: the authenticator does not verify who it is, the page says so and sends nothing."""
        path = f"/releases/{release}"
        self.looks(path)
        self.proof.verifies(False)
        self.page.click("button[value=approve]")
        said = self.page.locator("[data-passkey-said].wrong")
        said.wait_for(timeout=PATIENCE * 1000)
        must("Nothing was sent" in said.inner_text(), f"{path} says of a person who was not verified: {said.inner_text()}")
        self.proof.verifies(True)
        self.looks(path, "0 of 1 approvals")

    def gets_passkey(self):
        """From now on; one-time codes stay for signing in."""
        self.proof = Passkey(self.proof)
        self.proof.set_up(self)

    def asks_exemption(self, control, reason, days=7):
        def fill(page):
            page.select_option("#environment", "production")
            page.fill("#reason", reason)
            page.fill("#days", str(days))
        self.does("asks for an exemption", f"/exemptions/new?control={control}&environment=production", "Ask", fill,
                  done=reason, found="/exemptions")

    def answers_release(self, release, approve=True, note="I looked at it", refused=None):
        """Says yes or no to a release."""
        path = f"/releases/{release}"
        self.looks(path)
        button = self.page.locator("button[value=approve]").inner_text() if approve else "Reject"
        def fill(page):
            page.fill("#note", note)
            self.proof.approving(page)

        self.does(f"answers {release}", path, button, fill,
                  done="You cannot approve: approved it already" if approve else "rejected", refused=refused)


class People:
    """All of them, in one browser. Use it as a context."""

    def __init__(self, world, play):
        self.world, self.play, self.shots, self.known = world, play, 0, {}

    def __enter__(self):
        self.browser = browser.launch(self.play)
        return self

    def __exit__(self, kind, error, trace):
        if error:
            for name, person in self.known.items():
                # What they saw last; a browser that died shows nothing.
                with contextlib.suppress(BrowserError):
                    person.page.screenshot(path=self.world.keep / f"wrong-{name}.png", full_page=True)
        self.browser.close()

    def __getitem__(self, name):
        if name not in self.known:
            self.known[name] = Person(self, name)
        return self.known[name]
