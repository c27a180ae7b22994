"""Builds the program that is released, puts it where deployments find it, and says its digest."""

import hashlib
import os
import pathlib
import shutil
import subprocess

build = pathlib.Path("build")
build.mkdir(exist_ok=True)
subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-pthread", "orders.c", "price.c", "-o", "build/orders"], check=True)
digest = hashlib.sha256((build / "orders").read_bytes()).hexdigest()
shelf = pathlib.Path(os.environ["SHELF"])
shutil.copy2(build / "orders", shelf / f"{digest}.new")
(shelf / f"{digest}.new").rename(shelf / digest)
(build / "orders.digest").write_text(f"sha256:{digest}\n")
