"""Where the service runs: two slots behind a real HAProxy, and visitors who count every answer."""

import collections
import hashlib
import os
import signal
import socket
import subprocess
import threading
import time

from .tools import haproxy, listens, until

PROXY = """
global
  stats socket {socket} mode 600 level admin
  nbthread 1
defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server 60s
frontend front
  bind 127.0.0.1:{front}
  default_backend orders
backend orders
  balance roundrobin
  server blue  127.0.0.1:{blue} disabled
  server green 127.0.0.1:{green} disabled
"""

SETTINGS = """
[environment.production.deploy]
driver = "haproxy"
socket = "{socket}"
backend = "orders"
start = ["python3", "start.py", "{{slot}}", "{{port}}", "{{hex}}"]
stop = ["python3", "stop.py", "{{slot}}"]
env = {{ SITE = "env:SITE" }}
slots = {{ blue = "127.0.0.1:{blue}", green = "127.0.0.1:{green}" }}
health = "http://{{address}}/healthz"
bake = "{bake}"
drain = "5s"
{more}

[[environment.production.observe]]
kind = "process"
pid_file = "{folder}/serving.pid"
name = "orders behind haproxy"
"""


class Site:
    """Slots, shelf and proxy."""

    def __init__(self, folder, front, blue, green):
        self.folder, self.front, self.slots = folder, front, {"blue": blue, "green": green}
        self.shelf, self.socket = folder / "shelf", folder / "admin.sock"
        self.proxy = None
        self.visitors = None

    def settings(self, bake="1s", more=""):
        """How writ.toml says all this."""
        return SETTINGS.format(socket=self.socket, folder=self.folder, bake=bake, more=more, **self.slots)

    def open(self):
        self.shelf.mkdir(parents=True)
        config = self.folder / "haproxy.cfg"
        config.write_text(PROXY.format(socket=self.socket, front=self.front, **self.slots))
        with open(self.folder / "haproxy.log", "wb") as log:
            self.proxy = subprocess.Popen([haproxy(), "-db", "-f", config], stdout=log, stderr=subprocess.STDOUT,
                                          stdin=subprocess.DEVNULL, start_new_session=True)
        until("HAProxy", lambda: listens(self.front))

    def listening(self):
        """Slots in which something runs."""
        return [name for name, port in self.slots.items() if listens(port)]

    def state(self):
        """What HAProxy says of its servers: name to status."""
        with socket.socket(socket.AF_UNIX) as asked:
            asked.connect(str(self.socket))
            asked.sendall(b"show stat\n")
            text = b"".join(iter(lambda: asked.recv(65536), b"")).decode()
        rows = [line.split(",") for line in text.splitlines() if line]
        head = rows[0]
        return {row[1]: row[head.index("status")] for row in rows[1:] if row[0] == "orders" and row[1] in self.slots}

    def by_hand(self, slot, program):
        """What nobody should do: another program under the name of the one that runs, started in its place."""
        place = self.folder / slot
        note = place / "pid"
        os.kill(int(note.read_text()), signal.SIGKILL)
        until("the end of the program", lambda: not listens(self.slots[slot]))
        (place / "orders.new").write_bytes(program)
        (place / "orders.new").chmod(0o755)
        os.replace(place / "orders.new", place / "orders")
        null = subprocess.DEVNULL
        child = subprocess.Popen([place / "orders", str(self.slots[slot])], stdin=null, stdout=null, stderr=null, start_new_session=True)
        note.write_text(str(child.pid))
        (self.folder / "serving.pid").write_text(str(child.pid))
        until("the program that was put there by hand", lambda: listens(self.slots[slot]))
        return "sha256:" + hashlib.sha256(program).hexdigest()

    def visit(self):
        self.visitors = Visitors(self.front)
        return self.visitors

    def close(self):
        if self.visitors:
            self.visitors.end()
        for slot in self.slots:
            note = self.folder / slot / "pid"
            try:
                pid = int(note.read_text())
                # Only what was started here.
                if str(self.folder) in os.readlink(f"/proc/{pid}/exe"):
                    os.kill(pid, signal.SIGKILL)
            except (OSError, ValueError):
                pass
        if self.proxy and self.proxy.poll() is None:
            try:
                os.killpg(self.proxy.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.proxy.wait()


class Visitors:
    """People who load the front until they are told to stop: some keep their connection, one opens one each time."""

    def __init__(self, port):
        self.port, self.stop, self.lock = port, threading.Event(), threading.Lock()
        self.good, self.bad, self.first = collections.Counter(), [], {}
        self.people = [threading.Thread(target=self._go, args=(keep,), daemon=True) for keep in (True, True, False)]
        for person in self.people:
            person.start()

    def _go(self, keep):
        held = None
        while not self.stop.is_set():
            try:
                if held is None:
                    held = socket.create_connection(("127.0.0.1", self.port), timeout=30)
                    held.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                status, body = self._ask(held)
                if not keep:
                    held.close()
                    held = None
            except (OSError, ValueError, IndexError) as error:
                held = None
                status, body = 0, f"no answer: {error}"
            with self.lock:
                if status == 200:
                    self.good[body] += 1
                    self.first.setdefault(body, time.monotonic())
                else:
                    self.bad.append((time.monotonic(), f"{status} {body}"))
            time.sleep(0.004)

    @staticmethod
    def _ask(held):
        held.sendall(b"GET / HTTP/1.1\r\nhost: orders\r\n\r\n")
        got = b""
        while b"\r\n\r\n" not in got:
            more = held.recv(65536)
            if not more:
                raise ConnectionError("the connection was closed")
            got += more
        head, body = got.split(b"\r\n\r\n", 1)
        lines = head.decode().split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in lines[1:])
        while len(body) < int(fields.get("content-length", "0")):
            more = held.recv(65536)
            if not more:
                raise ConnectionError("the answer was cut")
            body += more
        return int(lines[0].split(" ")[1]), body.decode()

    def so_far(self):
        """How many good answers by version, and how many others."""
        with self.lock:
            return collections.Counter(self.good), len(self.bad)

    def seen(self, version, more=1):
        """Waits until a version has answered that often again."""
        before = self.so_far()[0][version]
        until(f"answers of {version}", lambda: self.so_far()[0][version] >= before + more)

    def end(self):
        self.stop.set()
        for person in self.people:
            person.join(35)
