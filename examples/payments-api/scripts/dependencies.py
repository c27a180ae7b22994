"""Install locked requirements, hash-checked, into a folder under build/ that is named after the locks."""

import hashlib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def installed(*locks):
    """The folder with the requirements of `locks`; the second call finds them there."""
    key = hashlib.sha256(b"".join((ROOT / lock).read_bytes() for lock in locks) + sys.version.encode()).hexdigest()
    folder = ROOT / "build" / f"dependencies-{key[:12]}"
    if not (folder / ".complete").exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                   "--require-hashes", "--no-deps", "--upgrade", "--root-user-action=ignore", "--target", str(folder)]
        for lock in locks:
            command += ["-r", str(ROOT / lock)]
        subprocess.run(command, check=True)
        (folder / ".complete").touch()
    return folder
