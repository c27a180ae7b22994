#!/usr/bin/env python3
"""Build the service's container image without a daemon, without root and without pulling anything.

    python3 image/build.py [--out build]

Writes `image.tar` (an OCI layout and a docker-archive in one file, as `docker save` writes it), `image.digest`
(the digest of the OCI manifest) and `image.json` (the same with the parts named).

The Dockerfile decides user, environment, working directory, copied files and command. Its FROM cannot be pulled
without a network, so the base layer is assembled from the Debian packages installed on this machine: the ones the
Python interpreter needs, with their dpkg entries, so that scanners see what is really inside. Elsewhere than on Debian
the image has no base layer, and the output says so.

The same inputs give the same digest: entries are sorted, owners, modes and times are fixed.
"""

import argparse
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DPKG = Path("/var/lib/dpkg")
#: Where the closure starts. `libpython3-stdlib` brings sqlite3, ssl and what they need.
BASE = ["base-files", "netbase", "tzdata", "python3-minimal", "libpython3-stdlib"]
#: Needed to install packages, not to run them.
LEAVE_OUT = {"dpkg", "debconf", "mawk", "awk", "cdebconf", "debconf-2.0", "mailcap", "python3"}
PLACES = re.compile(r"^/(etc|usr/bin|usr/lib|usr/lib64|usr/share/doc/[^/]+/copyright|usr/share/zoneinfo/(UTC|Etc)|var)(/|$)")


def stanzas():
    """The installed packages: `{name: {field: value, "_text": entry}}`."""
    found = {}
    for text in (DPKG / "status").read_text(encoding="utf-8").split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z-]+): ?(.*)$", text, re.MULTILINE))
        if fields.get("Status", "").endswith("ok installed"):
            found[fields["Package"]] = {**fields, "_text": text.strip()}
    return found


def closure(installed):
    """The packages of the base layer: BASE and what it depends on, first alternative that is installed."""
    chosen, waiting = set(), list(BASE)
    while waiting:
        name = waiting.pop()
        if name in chosen or name in LEAVE_OUT or name not in installed:
            continue
        chosen.add(name)
        entry = installed[name]
        for clause in ",".join([entry.get("Depends", ""), entry.get("Pre-Depends", "")]).split(","):
            names = [re.split(r"[ :(]", choice.strip())[0] for choice in clause.split("|")]
            waiting += [choice for choice in names if choice in installed][:1]
    return sorted(chosen)


class Layer:
    """A reproducible tar of entries keyed by their path inside the image."""

    def __init__(self):
        self.entries = {}

    def add(self, path, data=None, mode=0o644, link=None):
        self.entries[path.strip("/")] = (data, mode, link)

    def add_file(self, source, path):
        """Copy a file or a link; anything else is left out."""
        if os.path.islink(source):
            self.add(path, link=os.readlink(source))
        elif os.path.isfile(source):
            executable = os.stat(source).st_mode & 0o111
            self.add(path, Path(source).read_bytes(), 0o755 if executable else 0o644)

    def tar(self):
        folders = {str(parent) for path in self.entries for parent in Path(path).parents} - {"."}
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
            for path in sorted(folders | set(self.entries)):
                info = tarfile.TarInfo(path)
                data, mode, link = self.entries.get(path, (None, 0o755, None))
                info.mode = mode
                if link is not None:
                    info.type, info.linkname, info.mode = tarfile.SYMTYPE, link, 0o777
                elif data is None:
                    info.type, info.mode = tarfile.DIRTYPE, 0o755
                else:
                    info.size = len(data)
                archive.addfile(info, io.BytesIO(data) if data is not None else None)
        return out.getvalue()


def merged(path):
    """/lib, /bin and /sbin are links into /usr in the image."""
    return re.sub(r"^/(bin|sbin|lib|lib64)(/|$)", r"/usr/\1\2", path).replace("/usr/sbin", "/usr/bin")


def base_layer():
    """The layer of Debian packages, its package names and the Python version; `None` elsewhere than on Debian."""
    if not (DPKG / "status").exists():
        return None, [], None
    installed = stanzas()
    names = closure(installed)
    layer = Layer()
    for folder in ("bin", "lib", "lib64"):
        layer.add(folder, link=f"usr/{folder}")
    layer.add("sbin", link="usr/bin")
    for name in names:
        for info in (f"{name}.list", f"{name}:{installed[name]['Architecture']}.list"):
            listing = DPKG / "info" / info
            if not listing.exists():
                continue
            for path in listing.read_text(encoding="utf-8").splitlines():
                target = merged(path)
                if PLACES.match(target) and not target.startswith("/var/lib/dpkg") and target.strip("/") not in layer.entries:
                    layer.add_file(path, target)
            layer.add_file(listing, f"var/lib/dpkg/info/{info}")
            sums = listing.with_suffix(".md5sums")
            if sums.exists():
                layer.add_file(sums, f"var/lib/dpkg/info/{sums.name}")
    layer.add("var/lib/dpkg/status", ("\n\n".join(installed[name]["_text"] for name in names) + "\n").encode())
    layer.add("etc/passwd", b"root:x:0:0:root:/root:/usr/sbin/nologin\napp:x:10001:10001::/srv/app:/usr/sbin/nologin\n")
    layer.add("etc/group", b"root:x:0:\napp:x:10001:\n")
    layer.add("tmp/.keep", b"")
    # update-alternatives is not run here; the interpreter's plain name is a link in python3-minimal.
    python = next((match[1] for name in names if (match := re.fullmatch(r"python(3\.\d+)-minimal", name))), None)
    return layer, names, python


def dockerfile(path):
    """The instructions that matter here, in order: `[(WORD, rest)]`."""
    text = re.sub(r"\\\n", " ", path.read_text(encoding="utf-8"))
    found = []
    for line in text.splitlines():
        line = line.strip()
        if line and not line.startswith("#"):
            word, _, rest = line.partition(" ")
            found.append((word.upper(), rest.strip()))
    return found


def application_layer(instructions, python):
    """The service's files as the Dockerfile copies them, and its requirements, hash-checked."""
    layer = Layer()
    ignored = {line.strip() for line in (ROOT / ".dockerignore").read_text().splitlines() if line.strip()}
    for word, rest in instructions:
        if word not in ("ADD", "COPY"):
            continue
        *sources, target = [part for part in rest.split() if not part.startswith("--")]
        for source in sources:
            start = ROOT / source
            files = [start] if start.is_file() else sorted(path for path in start.rglob("*") if path.is_file())
            for file in files:
                inside = file.relative_to(ROOT)
                if ignored & set(inside.parts) or "__pycache__" in inside.parts or file.suffix == ".db":
                    continue
                below = inside.name if start.is_file() and target.endswith("/") else (
                    "" if start.is_file() else str(file.relative_to(start)))
                layer.add_file(file, os.path.join(target, below))
    site = f"usr/local/lib/python{python or '3'}/dist-packages"
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile",
             "--require-hashes", "--no-deps", "--only-binary=:all:", "--root-user-action=ignore",
             "--target", folder, "-r", str(ROOT / "requirements.txt")],
            check=True,
        )
        # The scripts name this machine's interpreter; `python3 -m` is used instead.
        shutil.rmtree(Path(folder, "bin"), ignore_errors=True)
        for file in sorted(path for path in Path(folder).rglob("*") if path.is_file()):
            data = file.read_bytes()
            if file.name == "RECORD":
                data = b"".join(line for line in data.splitlines(True) if b"../bin/" not in line)
            layer.add(f"{site}/{file.relative_to(folder)}", data)
    return layer


def settings(instructions):
    """The image configuration that the Dockerfile asks for; no USER means root."""
    config = {"Env": ["PATH=/usr/local/bin:/usr/bin:/bin"], "User": "root", "WorkingDir": "/"}
    for word, rest in instructions:
        if word == "USER":
            config["User"] = rest
        elif word == "WORKDIR":
            config["WorkingDir"] = rest
        elif word == "ENV":
            config["Env"] += re.findall(r'[A-Za-z_]+=[^\s"]+', rest)
        elif word == "EXPOSE":
            config["ExposedPorts"] = {f"{port}/tcp": {} for port in rest.split()}
        elif word in ("CMD", "ENTRYPOINT"):
            config[{"CMD": "Cmd", "ENTRYPOINT": "Entrypoint"}[word]] = json.loads(rest)
        elif word == "HEALTHCHECK" and "CMD" in rest:
            config["Healthcheck"] = {"Test": ["CMD"] + json.loads(rest.split("CMD", 1)[1])}
    return config


def blob(data):
    return hashlib.sha256(data).hexdigest()


def encoded(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def build(out):
    instructions = dockerfile(ROOT / "Dockerfile")
    base, packages, python = base_layer()
    layers = [("base", base.tar())] if base else []
    layers.append(("application", application_layer(instructions, python).tar()))
    wanted = next(rest for word, rest in instructions if word == "FROM")
    base_digest = "sha256:" + blob(layers[0][1]) if base else ""
    config = settings(instructions)
    config["Labels"] = {
        "org.opencontainers.image.title": "payments-api",
        "org.opencontainers.image.base.name": "debian packages of the building machine" if base else "scratch",
        "org.opencontainers.image.base.digest": base_digest,
        "example.payments.dockerfile.from": wanted,
    }
    history = [{"created": "1970-01-01T00:00:00Z", "created_by": f"{word} {rest}", "empty_layer": True}
               for word, rest in instructions if word not in ("FROM", "ADD", "COPY", "RUN")]
    history = ([{"created": "1970-01-01T00:00:00Z", "created_by": "base packages"}] if base else []) + history
    history.append({"created": "1970-01-01T00:00:00Z", "created_by": "COPY service and requirements"})
    image = encoded({
        "architecture": "amd64", "os": "linux", "created": "1970-01-01T00:00:00Z", "config": config,
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + blob(data) for _, data in layers]},
        "history": history,
    })
    kind = "application/vnd.oci.image."
    manifest = encoded({
        "schemaVersion": 2, "mediaType": kind + "manifest.v1+json",
        "config": {"mediaType": kind + "config.v1+json", "digest": "sha256:" + blob(image), "size": len(image)},
        "layers": [{"mediaType": kind + "layer.v1.tar", "digest": "sha256:" + blob(data), "size": len(data)}
                   for _, data in layers],
        "annotations": {"org.opencontainers.image.base.name": config["Labels"]["org.opencontainers.image.base.name"],
                        "org.opencontainers.image.base.digest": base_digest},
    })
    digest = "sha256:" + blob(manifest)
    tag = "payments-api:" + re.search(r'__version__ = "(.+)"', (ROOT / "payments/__init__.py").read_text())[1]
    files = Layer()
    for data in [image, manifest] + [data for _, data in layers]:
        files.add(f"blobs/sha256/{blob(data)}", data)
    files.add("oci-layout", encoded({"imageLayoutVersion": "1.0.0"}))
    files.add("index.json", encoded({
        "schemaVersion": 2, "mediaType": kind + "index.v1+json",
        "manifests": [{"mediaType": kind + "manifest.v1+json", "digest": digest, "size": len(manifest),
                       "annotations": {"org.opencontainers.image.ref.name": tag}}],
    }))
    files.add("manifest.json", encoded([{
        "Config": f"blobs/sha256/{blob(image)}", "RepoTags": [tag],
        "Layers": [f"blobs/sha256/{blob(data)}" for _, data in layers],
    }]))
    out.mkdir(parents=True, exist_ok=True)
    (out / "image.tar").write_bytes(files.tar())
    (out / "image.digest").write_text(digest + "\n")
    (out / "image.json").write_text(json.dumps({
        "digest": digest, "config": "sha256:" + blob(image), "tag": tag, "user": config["User"],
        "from": wanted, "base": base_digest, "basePackages": " ".join(packages),
        "layers": [{"name": name, "digest": "sha256:" + blob(data), "bytes": len(data)} for name, data in layers],
    }, indent=1) + "\n")
    if base is None:
        print("no base layer: this machine has no dpkg database; only the service and its requirements are inside")
    print(f"{tag} {digest}, {len(packages)} base packages, user {config['User']}, {sum(len(d) for _, d in layers)} bytes")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description="Build the image without a daemon.")
    arguments.add_argument("--out", type=Path, default=ROOT / "build")
    build(arguments.parse_args().out)
