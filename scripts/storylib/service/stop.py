"""stop.py SLOT: ends what runs in a slot, if anything does."""

import os
import pathlib
import signal
import sys
import time

site = pathlib.Path(os.environ["SITE"])
note = site / sys.argv[1] / "pid"
try:
    pid = int(note.read_text())
except FileNotFoundError:
    sys.exit(0)
note.unlink()
left = [other.read_text() for other in site.glob("*/pid")]
if left:
    (site / "serving.pid").write_text(left[0])
else:
    (site / "serving.pid").unlink(missing_ok=True)
try:
    os.kill(pid, signal.SIGKILL)
    while pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z":
        time.sleep(0.01)
except (ProcessLookupError, FileNotFoundError):
    pass
