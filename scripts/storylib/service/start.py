"""start.py SLOT PORT DIGEST: starts a version in a slot, and ends while it runs on."""

import os
import pathlib
import shutil
import subprocess
import sys

slot, port, digest = sys.argv[1:]
site = pathlib.Path(os.environ["SITE"])
place = site / slot
place.mkdir(exist_ok=True)
# A new file each time: what still runs keeps the bytes that it was started from.
shutil.copy2(site / "shelf" / digest, place / "orders.new")
os.replace(place / "orders.new", place / "orders")
null = subprocess.DEVNULL
child = subprocess.Popen([place / "orders", port], stdin=null, stdout=null, stderr=null, start_new_session=True)
(place / "pid").write_text(str(child.pid))
# Where it can be seen what serves: the first version at once, later ones when the one before has ended.
if not (site / "serving.pid").exists():
    (site / "serving.pid").write_text(str(child.pid))
