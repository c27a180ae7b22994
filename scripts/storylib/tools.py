"""What everything else needs: programs, ports, waiting, failing loudly."""

import dataclasses
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PATIENCE = 90  # seconds for anything, on a busy machine


class Wrong(Exception):
    """Something was not as it must be."""


class Away(Wrong):
    """The server did not answer, or could not; asked again, it may."""


def told_to_end():
    """Lets a script that is told to end stop what it started."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def must(so, what):
    if not so:
        raise Wrong(what)


def until(what, so, patience=PATIENCE):
    """Waits until something is so, and gives what it answered."""
    end = time.monotonic() + patience
    while True:
        found = so()
        if found:
            return found
        if time.monotonic() > end:
            raise Wrong(f"{what} did not come within {patience} s")
        time.sleep(0.02)


def free_ports(count):
    doors = [socket.socket() for _ in range(count)]
    try:
        for door in doors:
            door.bind(("127.0.0.1", 0))
        return [door.getsockname()[1] for door in doors]
    finally:
        for door in doors:
            door.close()


def listens(port):
    with socket.socket() as tried:
        tried.settimeout(2)
        return tried.connect_ex(("127.0.0.1", port)) == 0


def program(*names):
    for name in names:
        found = shutil.which(name)
        if found:
            return found
    raise Wrong(f"none of {', '.join(names)} is installed: scripts/prerequisites")


def haproxy():
    """The path that scripts/services gives to tests, else Debian's program, unpacked into the cache."""
    given = os.environ.get("WRIT_TEST_HAPROXY")
    if given:
        return given
    packages = ["haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1"]
    done = subprocess.run([ROOT / "scripts/unpacked", "haproxy", *packages], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip().splitlines()[-1]


def flat(text):
    """Text without the line breaks of its screen."""
    return " ".join(text.split())


@dataclasses.dataclass
class Answer:
    """What a command answered."""

    words: list
    code: int
    out: str
    err: str

    def json(self):
        try:
            return json.loads(self.out)
        except ValueError as error:
            raise Wrong(f"{self} answered no JSON: {error}") from error

    def ok(self, *codes):
        """Itself, if the exit code is one of these."""
        must(self.code in (codes or (0,)), f"{self}: exit code {self.code}, wanted {codes or (0,)}")
        return self

    def says(self, *parts):
        """Itself, if it says all of these."""
        text = flat(self.out + " " + self.err)
        for part in parts:
            must(part in text, f"{self}: does not say {part!r}")
        return self

    def __str__(self):
        return f"writ {' '.join(self.words)}\n{self.out[-6000:]}{self.err[-6000:]}"


def ran(command, words, environment, folder, given=None, patience=300):
    done = subprocess.run([*command, *words], env=environment, cwd=folder, input=given, capture_output=True, text=True, timeout=patience)
    return Answer(list(words), done.returncode, done.stdout, done.stderr)
