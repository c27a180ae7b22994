"""The machines: a server with its store, a repository with CI jobs, and a place where the service runs."""

import http.client
import itertools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

from .issuer import Issuer
from .keys import Key
from .site import Site
from .tools import Away, PATIENCE, ROOT, free_ports, must, ran

SERVICE = "orders"
PASSWORD = "correct horse battery"
FILES = pathlib.Path(__file__).resolve().parent / "service"

# What binds. As under sox-production, what people answer counts with a passkey alone.
PROFILE = """
name  = "story"
title = "Two people, what CI observed, and no more controls than this small service has tools for"

not_covered = ["Whatever the controls of the shipped profiles ask for beyond these."]

[floor]
origin = "observed"
producer = "ci-protected"
assurance = "webauthn"
coverage_percent = 80
database_age = "7d"
approvals = { role = "reviewer", count = 1 }

[environment.default]
controls = ["SEC-01", "TST-01", "TST-02", "PRV-01", "CHG-03", "CHG-04", "CHG-05", "CHG-06", "ENV-01"]
"""

PIPELINE = """
version = 1
service = "{service}"
profile = "{profile}"

[server]
url = "{base}"
log_keys = ["{log_key}"]

[artifact]
image = "registry.example/{service}"

[stage.secrets]
uses = "gitleaks"

[stage.test]
run = ["python3", "test.py"]
produces = {{ coverage = "build/lcov.info", junit = "build/junit.xml" }}

[stage.build]
run = ["python3", "build.py"]
needs = ["test"]
produces = {{ image = "build/orders.digest" }}
env = {{ SHELF = "env:SHELF" }}

[environment.staging]

{site}
"""

# Who there is: account, role, and to whom the account belongs.
PEOPLE = {
    "olga": ("operator", "olga"),
    "cleo": ("compliance", "cleo"),
    "ada": ("developer", "ada"),
    # Ada's second account has a role of its own; it is still Ada.
    "ada-review": ("reviewer", "ada"),
    # Bob reviews, and writes now and then.
    "bob": ("reviewer", "bob"),
    "rita": ("reviewer", "rita"),
    "quinn": ("developer", "quinn"),
}
# Who signs with a passkey from the beginning; the others have one-time codes.
PASSKEYS = {"rita", "quinn"}
MAILS = {"ada": "ada@example.org", "bob": "bob@example.org"}


class World:
    """Everything in one temporary folder, gone with it. Use it as a context."""

    def __init__(self, writ, keep):
        self.writ, self.keep = pathlib.Path(writ).resolve(), keep
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="writ-story-"))
        self.port, front, blue, green = free_ports(4)
        self.base = f"http://127.0.0.1:{self.port}"
        # Where people go: passkeys belong to a name, not to an address.
        self.name = f"http://localhost:{self.port}"
        self.site = Site(self.folder / "site", front, blue, green)
        self.server, self.jobs = None, 0
        self.log = keep / "server.log"
        self.log.write_text("")
        self.work = self.folder / "work"
        # Called around everything that a client asks of the server for the first time; who kills it does so there.
        self.around = lambda what, act: act()
        # Whether clients ask again when the server was away.
        self.patient = False

    def __enter__(self):
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind, *_):
        if kind and issubclass(kind, Exception):
            print("the last lines of the server:\n" + "".join(self.log.read_text(errors="replace").splitlines(True)[-40:]), file=sys.stderr)
        self.close()

    def close(self):
        self.kill()
        self.site.close()
        # The locker's files are read-only.
        subprocess.run(["chmod", "-R", "u+w", self.folder], stderr=subprocess.DEVNULL)
        shutil.rmtree(self.folder, ignore_errors=True)

    # The server's machine.

    def _build(self):
        for name in ("server", "ci", "host", "work"):
            (self.folder / name).mkdir()
        shutil.copytree(ROOT / "bundle", self.folder / "bundle")
        (self.folder / "bundle/profiles/story.toml").write_text(PROFILE)
        self.issuer = Issuer(self.folder)
        self.config = self.folder / "server.toml"
        self.config.write_text(self.issuer.rule(SERVICE, self.base))
        for account, (role, _) in PEOPLE.items():
            self.on_server("server", "account", "add", account, "--role", role, given=PASSWORD + "\n").ok()
        self._know()
        (self.folder / "server/writ.toml").write_text(f'version = 1\nservice = "{SERVICE}"\nprofile = "story"\n')
        bound = self.on_server("control", "bind", "story", "--service", SERVICE, "--identity", "olga").ok()
        self._second(bound.out.split()[-1])
        self.on_server("key", "new", "--purpose", "writ:production", "--reason", "the first").ok()
        self.log_key = self.on_server("key", "export", "log", "--vkey").ok().out.strip()
        self.start()
        self.site.open()
        self.repository()
        self._watch()

    def _watch(self):
        """The machine on which the service runs has a token of its own, and a key that the server believes."""
        token = self.on_server("server", "token", "new", "--name", "host", "--expires", "1d", "-f", "json").ok()
        self.token = token.json()["secret"]
        key = self.folder / "host/producer.pub"
        key.write_text(ran([self.writ], ["key", "export", "producer"], self.environment("host"), self.work).ok().out)
        # Whoever is called at night deploys with a program of their own.
        self.pager = Key(self.folder, "pager")
        for name, file in (("host", key), ("pager", self.pager.public)):
            self.on_server("key", "import", str(file), "--purpose", "producer", "--name", name, "--reason", "where the service runs").ok()

    def _know(self):
        """Whose accounts these are: proposed by the operator, approved by somebody else."""
        persons = {}
        for account, (_, person) in PEOPLE.items():
            persons.setdefault(person, []).append(f"local:{account}")
        for person, mail in MAILS.items():
            persons[person].append(f"mail:{mail}")
        people = [
            {"id": person, "name": person.title(), "accounts": accounts, "teams": ["quality-guild"] if person == "quinn" else []}
            for person, accounts in persons.items()
        ]
        given = json.dumps({"people": people})
        asked = self.on_server("server", "people", "import", "-", "--identity", "olga", "-f", "json", given=given).ok()
        self._second(asked.json()["proposed"]["digest"].removeprefix("sha256:")[:12])

    def _second(self, digest):
        """What the operator proposed is approved by somebody else."""
        self.on_server("server", "people", "approve", digest, "--identity", "cleo").ok()

    def environment(self, home, **more):
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
        # The scanners come from the cache that scripts/scanners filled; everything else is new.
        cache = os.environ.get("XDG_CACHE_HOME") or str(pathlib.Path.home() / ".cache")
        return {
            **kept, "HOME": str(self.folder / home), "XDG_CACHE_HOME": cache, "USER": home, "LC_ALL": "C",
            "WRIT_BUNDLE": str(self.folder / "bundle"), "GIT_CONFIG_NOSYSTEM": "1", "PYTHONDONTWRITEBYTECODE": "1", **more,
        }

    def on_server(self, *words, given=None):
        """A command on the server's machine."""
        return ran([self.writ], words, self.environment("server"), self.folder / "server", given)

    def start(self, **more):
        begin = time.monotonic()
        with open(self.log, "ab") as log:
            self.server = subprocess.Popen(
                [self.writ, "serve", "--config", self.config, "--listen", f"127.0.0.1:{self.port}"],
                stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=self.environment("server", **more), cwd=self.folder,
            )
        process = self.server
        while True:
            try:
                urllib.request.urlopen(self.base + "/readyz", timeout=5).read()
                return
            except OSError:
                must(process.poll() is None, f"the server ended with {process.returncode}")
                must(time.monotonic() < begin + PATIENCE, "the server does not answer")
                time.sleep(0.02)

    def stop(self):
        """As an operator does."""
        self.server.terminate()
        self.server.wait()

    def kill(self):
        """What a power cut leaves."""
        if self.server and self.server.poll() is None:
            self.server.send_signal(signal.SIGKILL)
            self.server.wait()

    # The repository and its CI jobs.

    def repository(self):
        for path in FILES.iterdir():
            shutil.copy(path, self.work)
        (self.work / ".gitignore").write_text("build/\n")
        self.pipeline()
        self.git("init", "-q", "-b", "main")
        self.before = None
        self.commit("Begin")

    def pipeline(self, profile="story", **settings):
        text = PIPELINE.format(service=SERVICE, profile=profile, base=self.base, log_key=self.log_key, site=self.site.settings(**settings))
        (self.work / "writ.toml").write_text(text)

    def git(self, *words, who="ada"):
        people = {}
        for role in ("AUTHOR", "COMMITTER"):
            people[f"GIT_{role}_NAME"], people[f"GIT_{role}_EMAIL"] = who.title(), f"{who}@example.org"
        done = ran(["git"], words, {**self.environment("ci"), **people}, self.work)
        must(done.code == 0, f"git {done}")
        return done.out.strip()

    def commit(self, subject, body="", who="ada"):
        """What is pushed: the change is this one commit."""
        self.before = self.head() if self.before is not None else ""
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", subject, *(["-m", body] if body else []), who=who)
        return self.head()

    def head(self):
        return self.git("rev-parse", "HEAD")

    def write(self, name, old, new):
        """Changes a file of the service."""
        text = (self.work / name).read_text()
        must(old in text, f"{name} has no {old!r}")
        (self.work / name).write_text(text.replace(old, new))

    def job(self, *words, codes=(0,), **more):
        """A job of the protected branch: its identity of five minutes, and a key of its own.

        The spool and the notes of deployments are the runner's, which stays.
        """
        def environment():
            self.jobs += 1
            return self.environment(
                "ci", CI="true", GITLAB_CI="true", CI_COMMIT_REF_NAME="main", CI_COMMIT_REF_PROTECTED="true",
                CI_PROJECT_PATH=f"group/{SERVICE}", CI_COMMIT_BEFORE_SHA=self.before, WRIT_SERVER=self.base,
                XDG_DATA_HOME=str(self.folder / f"ci/job-{self.jobs}"), SHELF=str(self.site.shelf), SITE=str(self.site.folder),
                WRIT_ID_TOKEN=self.issuer.token(SERVICE, self.base, self.head()), **more,
            )
        return self._asked(words, codes, environment)

    def host(self, *words, codes=(0,)):
        """A command on the machine where the service runs."""
        return self._asked(words, codes, lambda: self.environment("host", WRIT_SERVER=self.base, WRIT_TOKEN=self.token))

    def _asked(self, words, codes, environment):
        def act(_):
            done = ran([self.writ], words, environment(), self.work)
            if done.code not in codes and done.code in (3, 8):
                raise Away(f"{done}: exit code {done.code}, wanted {codes}")
            return done.ok(*codes)
        return self.asks(f"writ {' '.join(words[:2])}", act)

    def asks(self, what, act):
        """Does what asks the server something. Where that is away it is done again, as people and CI systems do."""
        end = time.monotonic() + PATIENCE
        for attempt in itertools.count():
            try:
                return act(attempt) if attempt else self.around(what, lambda: act(0))
            except Away:
                if not self.patient or time.monotonic() > end:
                    raise
                time.sleep(0.2)

    def built(self):
        """The digest that the last build left."""
        return (self.work / "build/orders.digest").read_text().strip()

    def deployment(self):
        """The journal of the last deployment."""
        journals = list((self.folder / "ci").glob(f".local/state/writ/servers/*/deployments/production/{SERVICE}.json"))
        must(len(journals) == 1, f"{len(journals)} journals of deployments")
        return json.loads(journals[0].read_text())

    # Programs that ask.

    def send(self, path, body=None, **headers):
        """What the server answers: status, headers, text."""
        def act(_):
            request = urllib.request.Request(self.base + path, body, headers)
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    return answer.status, answer.headers, answer.read().decode()
            except urllib.error.HTTPError as error:
                text = error.read().decode()
                if error.code >= 500:
                    raise Away(f"{path} answered {error.code}: {text[:2000]}") from error
                return error.code, error.headers, text
            except (OSError, http.client.HTTPException) as error:
                raise Away(f"{path}: {error}") from error
        return self.asks(f"{'POST' if body else 'GET'} {path}", act)

    def get(self, path, cookie):
        """A page or document, and the milliseconds that the server says it took."""
        status, headers, text = self.send(path, cookie=cookie)
        must(status == 200, f"{path} answered {status}: {text[:2000]}")
        return text, float(headers["server-timing"].partition("dur=")[2])

    def hand_in(self, envelope, token=None):
        """An envelope for the ledger: status and text. Without a token, by the machine where the service runs."""
        status, _, text = self.send("/api/v1/evidence", json.dumps(envelope).encode(), authorization=f"Bearer {token or self.token}",
                                    **{"content-type": "application/vnd.dsse.envelope.v1+json"})
        return status, text
