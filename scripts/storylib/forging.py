"""Forgeries: what somebody with an account, a CI job or a shell might try, and the reason that each is refused with."""

import base64
import datetime
import html
import json
import re
import shutil
import subprocess
import time
import urllib.parse

from .tools import flat, must, program, ran, until
from .world import SERVICE

# Sets the clock of one program back; `time` and vDSO calls go through it.
CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
int clock_gettime(clockid_t which, struct timespec *at) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int done = real(which, at);
    if (which == CLOCK_REALTIME) at->tv_sec -= 86400;
    return done;
}
"""


def reason(text):
    """Why something was refused, from a page or a problem document."""
    if text.lstrip().startswith("{"):
        return flat(json.loads(text)["detail"])
    said = re.search(r'<p class="sub">(.*?)</p>', text, re.S)
    must(said, f"no reason on the page: {text[:2000]}")
    return html.unescape(re.sub(r"<[^>]+>", "", said[1]))


class Forger:
    """One world in which everything is tried; `tried` is called with name, attempt and answer."""

    def __init__(self, world, people, tried):
        self.world, self.people, self.tried = world, people, tried

    # What everybody needs.

    def gate(self, *codes, environment="production"):
        said = self.world.job("gate", environment, "-f", "json", codes=codes).json()
        return said, {check["control"]: check for check in said["checks"]}

    def release(self, artifact, environment="production"):
        listed = json.loads(self.world.get("/api/v1/releases?limit=200", self.people["olga"].cookie)[0])["items"]
        return next(one["name"] for one in listed if (one["artifact"], one["environment"]) == (artifact, environment))

    def refused(self, who, path, fields, *statuses, says):
        """A form that must be refused with these words; the server's log has the same request."""
        status, text = self.people[who].posts(path, fields)
        must(status in statuses, f"{path} by {who} was answered with {status}: {text[:3000]}")
        why = reason(text)
        must(says in flat(why), f"{path} by {who} is not refused with {says!r}: {why}")
        request = re.search(r"urn:writ:request:([0-9a-f]+)", text)[1]
        until("the line of the log", lambda: re.search(rf'request="{request}".*status={status}', self.world.log.read_text()), 10)
        return why

    def shown(self, who, release):
        """What somebody was shown: the mark in the form of the release."""
        return self.world.get(f"/releases/{release}", self.people[who].cookie)[0].split('name="seen" value="', 1)[1].split('"', 1)[0]

    def answer(self, who, release, mark=None, passkey=""):
        return f"/releases/{release}/answer", {"answer": "approve", "seen": mark or self.shown(who, release), "note": "", "passkey": passkey}

    def approve(self, who, release):
        """With a passkey, in the browser; the form that was sent with what the passkey signed."""
        person, sent = self.people[who], []

        def hear(request):
            if request.is_navigation_request() and request.method == "POST":
                sent.append(dict(urllib.parse.parse_qsl(request.post_data, keep_blank_values=True)))

        person.page.on("request", hear)
        person.answers_release(release, note="")
        person.page.remove_listener("request", hear)
        must(len(sent) == 1 and "signature" in sent[0]["passkey"], f"no signed form was sent: {sent}")
        return {name: value for name, value in sent[0].items() if name != "form_token"}

    def exempt(self, seconds):
        """Ada asks for an exemption from TST-01 that ends so soon; its number."""
        ada = self.people["ada"]
        ends = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
        asked = {"service": SERVICE, "environments": [], "controls": ["TST-01"], "reason": "The suite is being moved", "expiresAt": ends.strftime("%Y-%m-%dT%H:%M:%SZ")}
        status, _, text = self.world.send("/api/v1/exemptions", json.dumps(asked).encode(), cookie=ada.cookie,
                                          **{"content-type": "application/json", "x-writ-form-token": ada.token()})
        must(status == 201, f"{status} {text}")
        return json.loads(text)["name"]

    def grant(self, number):
        self.people["quinn"].does(f"grants {number}", f"/exemptions/{number}", f"Grant {number}", lambda page: page.fill("#reason", "until then"), done=f"Revoke {number}")

    # The attempts, in the order in which one makes the next possible.

    def all(self):
        world = self.world
        world.write("price.c", "orders %s", "Orders %s")
        self.commit = world.commit("Say it with a capital", "Co-authored-by: Bob <bob@example.org>")[:7]
        world.job("run")
        self.artifact = world.built()
        self.gate(1)
        self.fabricated_report()
        self.own_exemption()
        self.expired_exemption()
        self.grant(self.exempt(86_400))
        self.gate(8)
        self.first = self.release(self.artifact)
        self.second_account()
        self.co_author()
        self.without_passkey()
        mark = self.shown("rita", self.first)
        signed = self.approve("rita", self.first)
        self.gate(0)
        self.replayed(signed)
        self.other_environment()
        self.preview()
        self.clock_set_back()
        world.write("version.h", '"1"', '"2"')
        world.commit("Version 2")
        world.job("run")
        self.newer = world.built()
        self.other_digest(mark)
        self.other_signature(signed)
        self.without_writ()
        self.by_somebody_else()
        self.older_state()
        self.weaker_profile()
        self.edited_decision()
        self.poisoned_cache()

    def fabricated_report(self):
        world = self.world
        (world.work / "build/better.info").write_text("TN:\nSF:price.c\n" + "".join(f"DA:{line},1\n" for line in range(1, 13)) + "LF:12\nLH:12\nend_of_record\n")
        world.job("attest", "build/better.info")
        items = json.loads(world.get(f"/api/v1/evidence?service={SERVICE}&type=coverage", self.people["olga"].cookie)[0])["items"]
        must([one["origin"] for one in items[:2]] == ["handed-in", "observed"], f"what is recorded: {items}")
        _, checks = self.gate(1)
        found = checks["TST-01"]
        must(found["state"] == "fail" and "58.3" in found["title"], found)
        self.tried("a fabricated report", "a job of the protected branch hands in a coverage report that says 12 of 12 lines",
                   f"recorded as handed in, and the gate goes by what was observed: {found['title']}")

    def own_exemption(self):
        number = self.exempt(600)
        why = self.refused("ada", f"/exemptions/{number}/answer", {"answer": "grant", "reason": "fine"}, 403, says="who asks for an exemption cannot grant it")
        self.tried("an exemption granted by its requester", f"Ada asks for {number} and grants it", why)
        why = self.refused("ada-review", f"/exemptions/{number}/answer", {"answer": "grant", "reason": "fine"}, 403, says="cannot grant it")
        self.tried("the same by a second account", f"ada-review, which is Ada's too, grants {number}", why)

    def expired_exemption(self):
        number = self.exempt(20)
        self.grant(number)
        _, checks = self.gate(8)
        must(checks["TST-01"]["state"] == "exempt", checks["TST-01"])
        until("the end of the exemption", lambda: self.gate(1, 8)[1]["TST-01"]["state"] == "fail", 60)
        _, checks = self.gate(1)
        shown = json.loads(self.world.get("/api/v1/exemptions", self.people["olga"].cookie)[0])["items"]
        standing = next(one["standing"] for one in shown if one["name"] == number)
        self.tried("an expired exemption", f"{number} was granted for 20 s; the gate is asked again after them", f"{number} is {standing}, and TST-01 fails: {checks['TST-01']['title']}")

    def second_account(self):
        why = self.refused("ada-review", *self.answer("ada-review", self.first), 403, says=f"({self.commit})")
        self.tried("self-approval through a second account", f"ada-review holds the role reviewer and is Ada, who wrote the change; it approves {self.first}", why)

    def co_author(self):
        why = self.refused("bob", *self.answer("bob", self.first), 403, says=f"({self.commit})")
        self.tried("approval by a co-author", f"Bob, a reviewer whom a trailer names, approves {self.first}", why)

    def without_passkey(self):
        why = self.refused("rita", *self.answer("rita", self.first), 403, says="webauthn or better counts here")
        self.tried("an approval without a passkey", f"the form of {self.first} is posted in Rita's session, without what her passkey signs", why)

    def replayed(self, signed):
        why = self.refused("rita", f"/releases/{self.first}/answer", signed, 403, says="approved it already")
        self.tried("a replayed approval", f"the form by which Rita approved {self.first}, as her passkey signed it, is posted once more", why)

    def other_signature(self, signed):
        why = self.refused("rita", *self.answer("rita", self.next, passkey=signed["passkey"]), 409, says="not asked of you here")
        self.tried("a passkey's signature of something else", f"what Rita's passkey signed for {self.first} is posted for {self.next}", why)

    def other_digest(self, mark):
        _, checks = self.gate(8)
        must(checks["CHG-03"]["state"] == "waiting", checks["CHG-03"])
        self.next = self.release(self.newer)
        why = self.refused("rita", *self.answer("rita", self.next, mark), 400, says="shown with")
        self.tried("approval of another digest", f"what Rita signed for {self.first} is posted for {self.next}, whose digest is another", f"{why}; the gate: {checks['CHG-03']['title']}")

    def by_somebody_else(self):
        why = self.refused("bob", *self.answer("bob", self.next, self.shown("rita", self.next)), 400, says="shown with")
        self.tried("an approval form of somebody else", f"Bob posts the form of {self.next} that Rita was shown", why)

    def older_state(self):
        mark = self.shown("rita", self.next)
        number = json.loads(self.world.get("/api/v1/exemptions?standing=live", self.people["olga"].cookie)[0])["items"][0]["name"]
        status, text = self.people["quinn"].posts(f"/exemptions/{number}/answer", {"answer": "revoke", "reason": "the suite is back"})
        must(status == 200, text[:2000])
        # What the page's script sends first: nothing is left to sign.
        why = self.refused("rita", *self.answer("rita", self.next, mark, passkey="prepare"), 409, says="TST-01")
        self.tried("an approval of an older state", f"Rita opened {self.next}, then {number} was revoked, then she presses the button", why)

    def without_writ(self):
        said = self.world.job("deploy", "production", "--digest", self.newer, codes=(8, 1)).says("NOT AUTHORISED")
        must(not self.world.site.listening(), "something was deployed")
        self.tried("a deployment without a writ", f"writ deploy of {self.newer[7:15]}, which waits for its approval", flat(said.out)[:200])

    def authorisation(self, artifact, environment):
        """Why the writs of an artefact do not authorise it there."""
        said = self.world.host("verify-artifact", artifact, "--env", environment, "-f", "json", codes=(1,)).json()
        must(not said.get("authorised"), said)
        return {one["code"]: one["reason"] for one in said["refused"]}

    def copied(self, what):
        """A recorded statement about the approved artefact, made out for the newer one and signed by a producer's key."""
        envelope = json.loads(self.world.get(f"/api/v1/evidence/{what}/envelope", self.people["olga"].cookie)[0])
        payload = base64.b64decode(envelope["payload"])
        forged = payload.replace(self.artifact[7:].encode(), self.newer[7:].encode())
        must(forged != payload, "nothing was forged")
        return self.world.pager.sealed(forged)

    def writ_of(self, artifact):
        listed = json.loads(self.world.get("/api/v1/writs?limit=200&environment=production", self.people["olga"].cookie)[0])["items"]
        return next(one["id"] for one in listed if one["artifact"] == artifact)

    def other_environment(self):
        why = self.authorisation(self.artifact, "staging")
        must("other-environment" in why, why)
        self.tried("a writ of another environment", f"{self.artifact[7:15]} has a writ for production and is to run in staging", why["other-environment"])

    def preview(self):
        # Nobody named a key for writs of staging.
        self.gate(8, environment="staging")
        self.approve("rita", self.release(self.artifact, "staging"))
        self.gate(0, environment="staging")
        why = self.authorisation(self.artifact, "staging")
        must("preview" in why, why)
        self.tried("a preview writ", "the gate says yes for staging, but no key is named for its writs", why["preview"])

    def clock_set_back(self):
        world = self.world
        shim = world.folder / "clock.so"
        subprocess.run([program("gcc"), "-shared", "-fPIC", "-x", "c", "-", "-o", shim, "-ldl"], input=CLOCK.encode(), check=True)
        before = json.loads(world.get("/api/v1/evidence?limit=1", self.people["olga"].cookie)[0])["items"][0]["recordedAt"]
        world.stop()
        world.start(LD_PRELOAD=str(shim))
        why = self.authorisation(self.artifact, "production")
        must("not-yet" in why, why)
        self.tried("a server whose clock was set back by a day", "the writ for production is asked about", why["not-yet"])
        status, text = world.hand_in(world.pager.envelope("urn:writ:predicate:deployment:v1", {
            "release": {"service": SERVICE, "environment": "production", "artifact": self.artifact}, "outcome": "failed", "deployer": "p_night",
            "startedAt": "2026-01-01T00:00:00Z", "observedAt": "2026-01-01T00:00:00Z", "origin": "observed", "producerClass": "laptop",
        }, [{"name": SERVICE, "digest": {"sha256": self.artifact[7:]}}]))
        must(status == 201, text)
        world.stop()
        world.start()
        after = json.loads(world.get("/api/v1/evidence?limit=1", self.people["olga"].cookie)[0])["items"][0]["recordedAt"]
        must(after >= before, f"the ledger's time went back from {before} to {after}")
        self.tried("an entry that is recorded meanwhile", "evidence is handed in while the clock is wrong", f"it is recorded at {after}, not before the entry of {before}")

    def weaker_profile(self):
        world = self.world
        world.pipeline(profile="startup")
        world.commit("Ask for less")
        said = world.job("gate", "production", codes=(2,)).says('profile = "story"')
        world.pipeline()
        world.commit("Ask for the same again")
        self.tried("a weaker profile in writ.toml", 'a commit asks for profile = "startup"', flat(said.err)[:220])

    def edited_decision(self):
        world, olga = self.world, self.people["olga"]
        decided = json.loads(world.get("/api/v1/decisions?limit=1&answer=no", olga.cookie)[0])["items"][0]
        envelope = json.loads(world.get(f"/api/v1/evidence/{decided['id']}/envelope", olga.cookie)[0])
        payload = base64.b64decode(envelope["payload"])
        must(b'"answer":"no"' in payload, "the decision says no")
        edited = payload.replace(b'"answer":"no"', b'"answer":"yes"')
        status, text = world.hand_in({**envelope, "payload": base64.b64encode(edited).decode()})
        must(status == 422, f"{status} {text}")
        self.tried("an edited decision, handed in", "a recorded no becomes a yes, with the signature that it had", reason(text))
        status, text = world.hand_in(world.pager.sealed(edited))
        must(status == 422, f"{status} {text}")
        self.tried("an edited decision, signed anew", "the same, signed by a key that may hand in evidence", reason(text))
        # A whole yes, with every field as it was but the digest that it is about.
        yes = json.loads(world.get("/api/v1/decisions?limit=1&answer=yes&environment=production", olga.cookie)[0])["items"][0]
        status, text = world.hand_in(self.copied(yes["id"]))
        must(status == 422, f"{status} {text}")
        self.tried("a forged decision", f"a yes for {self.artifact[7:15]} is copied for {self.newer[7:15]}, signed by a key that may hand in evidence", reason(text))
        # Verification summaries of others are evidence like any other; what they authorise is another question.
        status, text = world.hand_in(self.copied(self.writ_of(self.artifact)))
        must(status == 201, f"{status} {text}")
        why = until("the forged writ", lambda: self.authorisation(self.newer, "production").get("key"), 30)
        self.tried("a forged writ", f"the writ of {self.artifact[7:15]} is copied for {self.newer[7:15]}, signed by a key that may hand in evidence", f"recorded, and it does not count: {why}")
        # The bytes of the store itself.
        world.stop()
        store = world.folder / "server/.local/share/writ/store"
        kept = world.folder / "kept"
        shutil.copytree(store, kept)
        changed = self.change(store, base64.b64encode(payload), base64.b64encode(edited[:len(payload)]))
        said = world.on_server("verify")
        must(said.code != 0, f"{said}: a changed byte in {changed} verifies")
        self.tried("an edited decision in the store", f"the bytes of the decision are changed in {changed}", flat(said.err or said.out)[:220])
        subprocess.run(["chmod", "-R", "u+w", store], check=True)
        shutil.rmtree(store)
        kept.rename(store)
        world.on_server("verify").ok()
        world.start()

    @staticmethod
    def change(folder, old, new):
        """Changes bytes in whatever files of a folder have them; the first file's name."""
        named = []
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink():
                text = path.read_bytes()
                if old in text:
                    path.chmod(0o644)
                    path.write_bytes(text.replace(old, new))
                    named.append(str(path.relative_to(folder)))
        must(named, "nowhere in the store")
        return named[0]

    def poisoned_cache(self):
        """Without a server results are reused: the facts of a stage lie in the locker, under the digest of their bytes."""
        world = self.world
        place = world.folder / "alone"
        shutil.copytree(world.work, place, ignore=shutil.ignore_patterns("build"))
        text = (place / "writ.toml").read_text()
        text = re.sub(r"\[server\].*?\n\n", "", text, flags=re.S).replace('profile = "story"', 'profile = "startup"')
        (place / "writ.toml").write_text(text)
        environment = world.environment("laptop", SHELF=str(world.site.shelf), GIT_AUTHOR_NAME="Ada", GIT_AUTHOR_EMAIL="ada@example.org",
                                        GIT_COMMITTER_NAME="Ada", GIT_COMMITTER_EMAIL="ada@example.org")
        # A key of a cloud that was never given to anybody.
        (place / "deploy.env").write_text("AWS_ACCESS_KEY_ID=AKIA" + "Q3E7ZT2KXW5MNB4P\n")
        ran(["git"], ["add", "-A"], environment, place).ok()
        ran(["git"], ["commit", "-qm", "With a key"], environment, place).ok()

        def run():
            done = ran([world.writ], ["run", "secrets", "-f", "json", "-v"], environment, place).ok()
            return done.json()["stages"][0]["cached"]

        def found():
            said = ran([world.writ], ["gate", "production", "-f", "json"], environment, place).ok(1, 3).json()
            return next(check for check in said["checks"] if check["control"] == "SEC-01")

        must(not run() and run(), "the first result is from a cache, or the second is not")
        must(found()["state"] == "fail", found())
        store = world.folder / "laptop/.local/share/writ/store"
        facts = [path for path in (store / "locker").rglob("*") if path.is_file() and b'"stage":"secrets"' in path.read_bytes()]
        must(facts, "no facts of the stage are in the locker")
        for path in facts:
            text = path.read_bytes()
            clean = re.sub(rb'("(?:critical|high|medium|low|info|unknown)":)\d+', rb"\g<1>0", text)
            must(clean != text, f"nothing was found: {text}")
            path.chmod(0o644)
            path.write_bytes(clean)
        must(not run(), "a result was taken from a poisoned entry")
        check = found()
        must(check["state"] == "fail", check)
        said = ran([world.writ], ["verify"], environment, place)
        must(said.code != 0, f"{said}: a poisoned entry verifies")
        self.tried("a poisoned cache entry", "the kept result of a secret scan is rewritten to say that nothing was found",
                   f"it is not reused, the scan runs again: {check['title']}; writ verify: {flat(said.out + said.err)[:160]}")
