#!/usr/bin/env python3
"""Time from `writ deploy` to traffic on the new version, behind a real HAProxy, without bake time.

    bench/deploy.py target/release/writ [--rounds 10]

Prints the median and the worst of: the command's start until the first answer of the new version (asked every
2 ms), and until the command has ended. The version is a Python server, whose own start is part of it; it is
printed beside.
"""
import argparse
import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
VERSION = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = sys.argv[2].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
TEST = "printf 'TN:\\nSF:a.py\\nDA:1,1\\nLF:1\\nLH:1\\nend_of_record\\n' > lcov.info\n"


def ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    found = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("writ", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=10)
    asked = parser.parse_args()
    writ = asked.writ.resolve()
    haproxy = subprocess.run(
        [ROOT / "scripts/unpacked", "haproxy", "haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1"],
        check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    with tempfile.TemporaryDirectory(prefix="writ-bench-") as folder:
        folder = pathlib.Path(folder)
        work = folder / "work"
        work.mkdir()
        bundle = folder / "bundle"
        shutil.copytree(ROOT / "bundle", bundle)
        profile = bundle / "profiles/startup.toml"
        profile.write_text(profile.read_text().split("[environment.default]")[0] + '[environment.default]\ncontrols = ["TST-01"]\n')
        front, blue, green = ports(3)
        (folder / "haproxy.cfg").write_text(f"""
global
  stats socket {folder}/admin.sock mode 600 level admin
defaults
  mode http
  timeout connect 2s
  timeout client 10s
  timeout server 10s
frontend front
  bind 127.0.0.1:{front}
  default_backend shop
backend shop
  balance roundrobin
  server blue 127.0.0.1:{blue} disabled
  server green 127.0.0.1:{green} disabled
""")
        (work / "version.py").write_text(VERSION)
        (work / "test.sh").write_text(TEST)
        (work / ".gitignore").write_text("lcov.info\n*.pid\n")
        start = 'setsid python3 version.py "$1" "$2" >/dev/null 2>&1 & echo $! > "$3.pid"'
        stop = 'if [ -f "$1.pid" ]; then kill "$(cat "$1.pid")"; rm "$1.pid"; fi'
        (work / "writ.toml").write_text(f"""version = 1
service = "shop"
profile = "startup"
[stage.test]
run = ["sh", "test.sh"]
produces = {{ coverage = "lcov.info" }}
[environment.production.deploy]
driver = "haproxy"
socket = "{folder}/admin.sock"
backend = "shop"
slots = {{ blue = "127.0.0.1:{blue}", green = "127.0.0.1:{green}" }}
start = ["sh", "-c", {json.dumps(start)}, "start", "{{port}}", "{{hex}}", "{{slot}}"]
stop = ["sh", "-c", {json.dumps(stop)}, "stop", "{{slot}}"]
health = "http://{{address}}/"
bake = "0s"
""")
        environment = {**os.environ, "HOME": str(folder / "home"), "WRIT_BUNDLE": str(bundle), "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.org",
                       "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.org"}
        for name in ("CI", "GITHUB_ACTIONS", "GITLAB_CI", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
            environment.pop(name, None)

        def run(*argv):
            done = subprocess.run(argv, cwd=work, env=environment, text=True, capture_output=True)
            if done.returncode:
                sys.exit(f"error: {' '.join(map(str, argv))}\n{done.stdout}{done.stderr}")
            return done.stdout

        for argv in (("git", "init", "-q"), ("git", "add", "-A"), ("git", "commit", "-q", "-m", "first"),
                     (writ, "key", "new", "--purpose", "writ:production", "--reason", "live"), (writ, "run")):
            run(*argv)
        proxy = subprocess.Popen([haproxy, "-db", "-f", folder / "haproxy.cfg"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        to_traffic, to_end, starts = [], [], []
        try:
            for number in range(asked.rounds + 1):
                digest = f"{number:064x}"
                run(writ, "gate", "production", "--artifact", f"sha256:{digest}")
                seen = {}

                def ask():
                    while "at" not in seen:
                        try:
                            with urllib.request.urlopen(f"http://127.0.0.1:{front}/", timeout=5) as answer:
                                if answer.read().decode() == digest:
                                    seen["at"] = time.monotonic()
                        except OSError:
                            pass
                        time.sleep(0.002)

                asking = threading.Thread(target=ask, daemon=True)
                asking.start()
                begin = time.monotonic()
                told = json.loads(run(writ, "deploy", "production", "--digest", f"sha256:{digest}", "-f", "json", "-q"))
                end = time.monotonic()
                asking.join(30)
                if number:  # the first one finds nothing that serves
                    to_traffic.append(seen["at"] - begin)
                    to_end.append(end - begin)
                steps = {step["step"]: step["at"] for step in told["steps"]}
                starts.append((steps["starting"], steps["shifting"]))
        finally:
            proxy.terminate()
            proxy.wait()
            for slot in ("blue", "green"):
                pid = work / f"{slot}.pid"
                if pid.exists():
                    subprocess.run(["kill", pid.read_text().strip()])

        def seconds(text):
            clock = text.split("T")[1].rstrip("Z")
            hours, minutes, rest = clock.split(":")
            return int(hours) * 3600 + int(minutes) * 60 + float(rest)

        own = [seconds(b) - seconds(a) for a, b in starts]
        show = lambda values: f"median {statistics.median(values) * 1000:.0f} ms, worst {max(values) * 1000:.0f} ms"
        print(f"until traffic on the new version  {show(to_traffic)}")
        print(f"until the command ended           {show(to_end)}")
        print(f"of this the version's own start   {show(own)}")


main()
