"""The story of one change, from a push that is blocked to an emergency that is reviewed."""

import json
import statistics
import time

from .tools import flat, must

# Lists of the interface whose entries must not get lost, what names an entry, and whether the list has pages. Every
# entry of the ledger is evidence; the others have numbers of their own.
KEPT = {"evidence": ("id", True), "releases": ("name", True), "exemptions": ("name", False), "break-glass": ("name", False)}


class Telling:
    """Who does what, step by step; `say` is called with what was seen."""

    def __init__(self, world, people, say):
        self.world, self.people, self.say = world, people, say
        self.figures, self.kept = {}, {}
        # What was told to somebody: it may not get lost.
        self.told = set()

    def tell(self):
        """All of it."""
        self.pushed()
        self.exempted()
        self.approved()
        self.built_again()
        self.switched()
        self.taken_back()
        self.replaced_by_hand()
        self.broken()
        self.remember()

    # What is asked again and again.

    def gate(self, *codes, artifact=None):
        """What the gate says to a job; its decision was told."""
        more = ["--artifact", artifact] if artifact else []
        said = self.world.job("gate", "production", "-f", "json", *more, codes=codes).json()
        self.told.add(("evidence", "ev_" + said["decisionId"].removeprefix("dec_")))
        return {check["control"]: check for check in said["checks"]}

    def run(self):
        """A job that runs every stage and delivers what they showed; the digest that was built."""
        said = self.world.job("run", "-f", "json").json()
        if not said["server"]["waiting"]:
            stages = [one for stage in said["stages"] for one in stage["evidence"]]
            self.told.update(("evidence", one) for one in [said["run"], *stages])
        return self.world.built()

    def ask(self, path):
        """A document, as an operator gets it."""
        olga = self.people["olga"]
        return json.loads(self.world.get(path, olga.cookie)[0])

    def listed(self, kind):
        """All entries of a list, whatever its pages."""
        if not KEPT[kind][1]:
            return self.ask(f"/api/v1/{kind}")["items"]
        found, after = [], ""
        while after is not None:
            page = self.ask(f"/api/v1/{kind}?limit=200{after}")
            found += page["items"]
            after = f"&after={page['next']}" if page.get("next") else None
        return found

    def remember(self):
        """Reads everything that is recorded. What was told before is still there, as it was."""
        now = {(kind, one[key]): one.get("index") for kind, (key, _) in KEPT.items() for one in self.listed(kind)}
        for what, index in {**dict.fromkeys(self.told), **self.kept}.items():
            must(what in now, f"{what[0]} {what[1]} was acknowledged and is gone")
            must(index is None or now[what] == index, f"{what[0]} {what[1]} was entry {index} and is {now[what]}")
        self.kept = now
        return len(now)

    def deployments(self, *outcomes):
        """Deployments that ended so, or began: artefact and beginning."""
        found = [one for one in self.listed("evidence") if one["predicateType"] == "urn:writ:predicate:deployment:v1"]
        return {(one["subject"]["artifact"], one["facts"]["startedAt"]) for one in found if one["facts"]["outcome"] in outcomes}

    def release(self, artifact):
        """The number of the release of an artefact."""
        found = [one for one in self.listed("releases") if one["artifact"] == artifact]
        must(len(found) == 1, f"{len(found)} releases of {artifact}")
        return found[0]["name"]

    # The steps.

    def pushed(self):
        world = self.world
        world.write("price.c", "orders %s", "Orders %s")
        commit = world.commit("Say it with a capital", "Co-authored-by: Bob <bob@example.org>")
        self.first = self.run()
        checks = self.gate(1)
        must(checks["TST-01"]["state"] == "fail", checks["TST-01"])
        why = world.job("why").says("BLOCKED", "TST-01", "coverage")
        must("80 %" in flat(why.out), why)
        refused = world.job("deploy", "production", codes=(1,)).says("NOT AUTHORISED")
        must(not world.site.listening(), refused)
        self.say(f"Ada and Bob push {commit[:7]}, CI builds {self.first[7:15]}; the gate blocks it: {checks['TST-01']['title']}")
        ada = self.people["ada"]
        ada.looks("/changes", commit[:7])
        ada.photograph("blocked")

    def exempted(self):
        ada, quinn = self.people["ada"], self.people["quinn"]
        reason = "The suite is being moved to the new harness"
        ada.asks_exemption("TST-01", reason)
        ada.looks("/exemptions/EX-1", reason)
        ada.photograph("exemption-asked")
        ada.does("grants EX-1", "/exemptions/EX-1", "Grant EX-1", refused="who asks for an exemption cannot grant it")
        ada.photograph("own-exemption-refused")
        self.people["rita"].does("grants EX-1", "/exemptions/EX-1", "Grant EX-1", refused="exempted by quality-guild")
        self.say("Ada asks for exemption EX-1; she cannot grant it herself (\"who asks for an exemption cannot grant it\"), Rita is not of the team that decides")
        quinn.does("grants EX-1", "/exemptions/EX-1", "Grant EX-1", lambda page: page.fill("#reason", "Until the suite has moved"), done="Revoke EX-1")
        quinn.photograph("exemption-granted")
        checks = self.gate(8)
        must(checks["TST-01"]["state"] == "exempt" and checks["CHG-03"]["state"] == "waiting", checks)
        self.say("Quinn of the quality guild grants it: the gate waits for an approval now, and TST-01 is exempt, not passed")
        self.remember()

    def approved(self):
        people, release = self.people, self.release(self.first)
        commit = self.world.head()[:7]
        for name in ("ada", "ada-review", "bob"):
            people[name].answers_release(release, refused=f"wrote 1 of the 1 commits ({commit})")
        people["ada"].looks(f"/releases/{release}", "You cannot approve", commit, "Eligible now: rita")
        people["ada"].photograph("author-cannot-approve", "#decide")
        self.say(f"{release}: Ada cannot approve it, by neither of her accounts, nor Bob who is its co-author: \"wrote 1 of the 1 commits ({commit})\"")
        people["rita"].looks("/inbox", release)
        people["rita"].photograph("inbox")
        people["rita"].looks("/settings", "Your passkeys")
        people["rita"].examines("passkeys")
        people["rita"].looks(f"/releases/{release}", "Your passkey confirms the answer.")
        people["rita"].examines("release")
        people["rita"].answers_release(release, note="The exemption is reasonable")
        people["rita"].photograph("approved")
        self.gate(0)
        self.say("Rita approves with her passkey, in her browser: the gate says yes and issues a writ")
        deployed = self.world.job("deploy", "production", "-f", "json").json()
        must(deployed["outcome"] == "succeeded", deployed)
        self.say(f"writ deploy puts {self.first[7:15]} into an empty site: it serves from {' and '.join(self.world.site.listening())}")
        self.visitors = self.world.site.visit()
        self.visitors.seen("Orders 1", 100)
        self.remember()

    def built_again(self):
        world, rita = self.world, self.people["rita"]
        world.write("version.h", '"1"', '"2"')
        world.commit("Version 2")
        self.second = self.run()
        must(self.second != self.first, "the new build has the old digest")
        checks = self.gate(8)
        must(checks["CHG-03"]["state"] == "waiting", checks["CHG-03"])
        world.job("deploy", "production", codes=(8,)).says("no writ names")
        release = self.release(self.second)
        rita.looks(f"/releases/{release}", "0 of 1 approvals")
        self.say(f"A new build has another digest, {self.second[7:15]}: the approval of {self.first[7:15]} says nothing about it, {release} waits for its own")
        rita.answers_release(release, note="Version 2 is what was asked for")
        self.gate(0)
        self.say(f"Rita approves {release} too")
        self.page = f"/releases/{release}"

    def switched(self):
        world = self.world
        begin = time.monotonic()
        deployed = world.job("deploy", "production", "-f", "json").json()
        must(deployed["outcome"] == "succeeded", deployed)
        self.visitors.seen("Orders 2", 200)
        with self.visitors.lock:
            self.figures["from writ deploy to the first answer of green"] = f"{(self.visitors.first['Orders 2'] - begin) * 1e3:.0f} ms"
        good, bad = self.visitors.so_far()
        must(not bad, f"{bad} requests failed: {self.visitors.bad[:3]}")
        must(len(world.site.listening()) == 1, f"both slots run: {world.site.listening()}")
        self.say(f"writ deploy switches blue to green behind HAProxy under load: {good['Orders 1']} answers of version 1, {good['Orders 2']} of version 2, 0 failed")
        rita = self.people["rita"]
        rita.looks("/environments/production", self.second[7:15])
        rita.photograph("deployed")

    def taken_back(self):
        world = self.world
        world.write("version.h", '"2"', '"3"')
        world.write("price.c", "return 200;", "return 500;")
        world.commit("Version 3, which fails")
        bad = self.run()
        self.gate(8)
        release = self.release(bad)
        # Bob had no hand in this one.
        bob, why = self.people["bob"], "webauthn or better counts here"
        bob.answers_release(release, refused=why)
        bob.looks(f"/releases/{release}", why, "Add a passkey")
        bob.photograph("no-passkey", "#decide")
        bob.gets_passkey()
        bob.confirms_nothing(release)
        bob.answers_release(release, note="The tests pass")
        self.say(f"Bob cannot approve {release} by password and code (\"{why}\"): he adds a passkey and can, once it has verified him")
        self.gate(0)
        told = world.job("deploy", "production", "-f", "json", codes=(1,)).json()
        must(told["outcome"] == "rolled-back" and "requests failed" in told["reason"], told)
        self.visitors.seen("Orders 2", 300)
        with self.visitors.lock:
            failures, others = len(self.visitors.bad), [one for _, one in self.visitors.bad if one != "500 Orders 3"]
        must(not others, f"good versions failed: {others[:3]}")
        self.visitors.seen("Orders 2", 300)
        must(self.visitors.so_far()[1] == failures, "requests fail after the bad version was taken back")
        must(len(world.site.listening()) == 1, f"both slots run: {world.site.listening()}")
        self.say(f"Version 3 passes its tests and answers 500: it is taken back by itself ({told['reason']}); {failures} visitors met it, then nobody")
        rita = self.people["rita"]
        rita.looks("/environments/production", self.second[7:15])
        rita.photograph("rolled-back")
        self.remember()

    def replaced_by_hand(self):
        world, rita = self.world, self.people["rita"]
        self.visitors.end()
        seen = world.host("env", "snapshot", "production", "-f", "json").json()
        must(seen["state"] == "authorised", seen)
        slot = world.site.listening()[0]
        program = (world.site.shelf / self.second[7:]).read_bytes()
        self.third = world.site.by_hand(slot, program.replace(b"Orders %s", b"ORDERS %s"))
        alarm = world.host("env", "snapshot", "production", codes=(1,))
        alarm.says("different", self.third[7:15], self.second[7:15])
        shown = self.ask("/api/v1/environments/production")
        found = [one for one in shown["components"] if one["state"] == "different"]
        must(len(found) == 1 and (found[0]["observed"], found[0]["authorised"]) == (self.third, self.second), shown)
        rita.looks("/environments/production", self.third[7:15], self.second[7:15])
        rita.photograph("drift")
        self.say(f"Somebody replaces the running program by hand: drift names {self.third[7:15]} that runs and {self.second[7:15]} that was authorised")
        self.remember()

    def broken(self):
        world, people = self.world, self.people
        ada, rita = people["ada"], people["rita"]
        checks = self.gate(1, artifact=self.third)
        must(checks["PRV-01"]["state"] == "missing", f"nobody built {self.third}, and yet: {checks['PRV-01']}")
        release = self.release(self.third)

        def fill(page, confirm):
            page.select_option("#release", release)
            page.fill("#reason", "Orders are lost, the fix cannot wait for a build")
            page.fill("#incident", "INC-7")
            page.fill("#minutes", "60")
            confirm(page)

        def guess(page):
            page.fill("#password", "a wrong password")
            page.fill("#code", "000000")

        place = "/break-glass/new"
        ada.does("opens an emergency without proof", place, "Break the glass", lambda page: fill(page, guess), refused="password")
        ada.does("opens an emergency", place, "Break the glass", lambda page: fill(page, ada.proof.confirm), done="INC-7", found="/break-glass")
        ada.looks("/break-glass/BG-1", "INC-7", "Standing open")
        ada.photograph("glass-broken")
        self.say(f"Ada breaks the glass for {release}, after her password and a new code (a guess is refused): BG-1")
        self.deployed_past_the_gate()
        ada.does("closes BG-1", "/break-glass/BG-1", "Close it now", done="review owed")

        def justified(page):
            page.fill("#reason", "The outage was real")

        for name, why in (("ada", "may not review emergencies"), ("ada-review", "opened it")):
            people[name].does("reviews BG-1", "/break-glass/BG-1", "It was justified", justified, refused=why)
        people["ada-review"].photograph("own-emergency")
        rita.looks("/inbox", "BG-1")
        rita.does("reviews BG-1", "/break-glass/BG-1", "It was justified", justified, done="Standing reviewed")
        rita.photograph("emergency-reviewed")
        must([one["standing"] for one in self.listed("break-glass")] == ["reviewed"], "BG-1 is not reviewed")
        self.say("Ada cannot review it, nor can her second account (\"opened it\"); Rita does: the outage was real")
        self.remember()

    def deployed_past_the_gate(self):
        """The emergency is used: by a program of one's own, which says under which emergency it deployed."""
        world, opened = self.world, self.listed("break-glass")[0]
        who = self.listed("exemptions")[0]["requester"]
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        envelope = world.pager.envelope("urn:writ:predicate:deployment:v1", {
            "release": {"service": "orders", "environment": "production", "artifact": self.third}, "outcome": "succeeded", "deployer": who,
            "breakGlass": opened["id"], "startedAt": now, "observedAt": now, "origin": "observed", "producerClass": "laptop",
        }, [{"name": "orders", "digest": {"sha256": self.third[7:]}, "annotations": {"kind": "artifact", "service": "orders", "environment": "production"}}])
        status, text = world.hand_in(envelope)
        must(status in (200, 201), f"{status} {text}")
        # Authorised by the emergency, and still nothing that the gate would say yes to: nobody built it.
        seen = world.host("env", "snapshot", "production", "-f", "json", codes=(1,)).json()["components"]
        must([(one["state"], one["observed"], one["by"]["kind"]) for one in seen] == [("not-compliant", self.third, "break-glass")], seen)
        rita = self.people["rita"]
        rita.looks("/environments/production", self.third[7:15])
        rita.photograph("emergency-runs")
        self.say(f"What was put there is recorded as deployed under BG-1: {self.third[7:15]} is authorised by break-glass, and shown as not compliant")

    # What is measured, and what must be so at the end.

    def timed(self):
        """The page on which a release is approved, as the server times it."""
        rita = self.people["rita"]
        took = [self.world.get(self.page, rita.cookie)[1] for _ in range(20)]
        self.figures["the page of a release on the server, median of 20"] = f"{statistics.median(took):.1f} ms"
        return self.figures

    def ended(self):
        """Nothing half done, nothing lost, and everything verifies."""
        world = self.world
        world.job("spool", "deliver")
        journal = world.deployment()
        must(journal["step"] == "recorded", f"a deployment was left while {journal['step']}")
        must(len(world.site.listening()) == 1, f"{world.site.listening()} run")
        up = [name for name, status in world.site.state().items() if status not in ("MAINT", "DRAIN")]
        must(up == world.site.listening(), f"HAProxy sends visitors to {up}, {world.site.listening()} run")
        count = self.remember()
        begun, ended = self.deployments("started"), self.deployments("succeeded", "rolled-back", "failed")
        must(begun <= ended, f"deployments began and nothing says how they ended: {begun - ended}")
        world.stop()
        verified = world.on_server("verify").ok().says("proven by 3 passkeys")
        must("the gate counts them as less" not in flat(verified.out), verified)
        world.start()
        self.say(f"{count} recorded things are all there; writ verify: {flat(verified.out).partition('ledger ')[2].split(',')[0]}")
