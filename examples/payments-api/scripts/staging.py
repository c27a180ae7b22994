#!/usr/bin/env python3
"""A staging environment for the dynamic scan: the service on a loopback port, with made-up payments and no bank.

    python3 scripts/staging.py start [PORT]     returns when the service answers; it goes on in the background
    python3 scripts/staging.py stop
    python3 scripts/staging.py serve [PORT]     stays in the foreground

The scanner really attacks it, so database and statements live in a throw-away folder (.staging/).
"""

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from dependencies import ROOT, installed

STATE = ROOT / ".staging"
PID = STATE / "pid"


def serve(port):
    """The service itself, in the foreground."""
    sys.path[:0] = [str(installed("requirements.txt")), str(ROOT)]
    sys.dont_write_bytecode = True
    from wsgiref.simple_server import WSGIRequestHandler, make_server

    from payments import statements
    from payments.app import Api
    from payments.store import Store

    class Quiet(WSGIRequestHandler):
        def log_message(self, *arguments):
            pass

    STATE.mkdir(exist_ok=True)
    os.chdir(STATE)
    Path("payments.db").unlink(missing_ok=True)
    store = Store("payments.db")
    for number, (merchant, minor) in enumerate([("acme", 1250), ("acme", 990), ("zeta", 4200)]):
        store.add(f"c{number}", merchant, "EUR", minor)
    statements.write("2026-10.txt", ["acme 2026-10 2240 EUR", "zeta 2026-10 4200 EUR"])
    make_server("127.0.0.1", port, Api(store, lambda payout: None), handler_class=Quiet).serve_forever()


def stop():
    """End the service that `start` left behind, if any."""
    if PID.exists():
        try:
            os.kill(int(PID.read_text()), signal.SIGTERM)
        except ProcessLookupError:
            pass
    shutil.rmtree(STATE, ignore_errors=True)


def start(port):
    stop()
    STATE.mkdir()
    with open(STATE / "log", "wb") as log:
        child = subprocess.Popen([sys.executable, __file__, "serve", str(port)], stdin=subprocess.DEVNULL,
                                 stdout=log, stderr=log, start_new_session=True)
    PID.write_text(str(child.pid))
    for _ in range(300):
        if child.poll() is not None:
            print((STATE / "log").read_text(), file=sys.stderr)
            return 1
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1)
            print(f"staging answers on http://127.0.0.1:{port}/")
            return 0
        except OSError:
            time.sleep(0.1)
    print("staging did not answer within 30 s", file=sys.stderr)
    return 1


def main():
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 18099
    action = sys.argv[1] if len(sys.argv) > 1 else ""
    if action == "serve":
        serve(port)
    elif action == "start":
        sys.exit(start(port))
    elif action == "stop":
        stop()
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
