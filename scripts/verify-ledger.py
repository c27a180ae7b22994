#!/usr/bin/env python3
"""Check a Writ ledger without Writ: Python's standard library and the openssl program, nothing else.

    verify-ledger.py LEDGER --trust trust.toml      the keys that a store trusts
    verify-ledger.py LEDGER --key NAME+ID+BASE64    or the log's public key as published
    verify-ledger.py LEDGER --trust … --entry 17    also prove one entry and check who signed it

Checked: the checkpoint's signature, the form and order of every entry, every leaf hash, every tile of
every level, and the root. An independent reading of C2SP tlog-tiles, tlog-checkpoint and signed-note,
RFC 6962 and DSSE; it shares no code with Writ. Entries that wait in the journal, because they came after
the last checkpoint, are not part of the tree and are not looked at.

Exit codes: 0 everything holds, 1 something does not, 2 wrong use.
"""

import argparse
import base64
import hashlib
import json
import subprocess
import sys
import tempfile
import tomllib
from datetime import datetime, timezone
from pathlib import Path

#: What precedes the 32 bytes of an Ed25519 key in its SubjectPublicKeyInfo (RFC 8410).
ED25519_SPKI = bytes.fromhex("302a300506032b6570032100")
WIDTH = 256


class Wrong(Exception):
    """Something does not hold."""


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def node(left, right):
    return sha256(b"\x01", left, right)


def root_of(hashes):
    """The RFC 6962 root over a list of hashes, by its definition: the largest power of two goes left."""
    if len(hashes) < 2:
        return hashes[0] if hashes else sha256()
    split = 1 << (len(hashes) - 1).bit_length() - 1
    return node(root_of(hashes[:split]), root_of(hashes[split:]))


def path_of(index, hashes):
    """The inclusion proof of one leaf, leaf first (RFC 6962 section 2.1.1)."""
    if len(hashes) < 2:
        return []
    split = 1 << (len(hashes) - 1).bit_length() - 1
    if index < split:
        return path_of(index, hashes[:split]) + [root_of(hashes[split:])]
    return path_of(index - split, hashes[split:]) + [root_of(hashes[:split])]


def root_from(index, size, leaf, proof):
    """The root that a proof leads to (RFC 9162 section 2.1.3.2)."""
    number, last, at = index, size - 1, leaf
    for step in proof:
        if last == 0:
            raise Wrong("the proof is too long")
        if number & 1 or number == last:
            at = node(step, at)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            at = node(at, step)
        number, last = number >> 1, last >> 1
    if last:
        raise Wrong("the proof is too short")
    return at


def openssl_verifies(public, signature, message):
    """Whether openssl says that the signature fits. `public` is DER or PEM."""
    pem = public if public.startswith(b"-----") else None
    with tempfile.TemporaryDirectory() as folder:
        key, sig, text = (Path(folder, name) for name in ("key", "signature", "message"))
        key.write_bytes(public), sig.write_bytes(signature), text.write_bytes(message)
        # Ed25519 signs the message itself; ECDSA signs its digest.
        kind = subprocess.run(["openssl", "pkey", "-pubin", "-in", key, "-inform", "PEM" if pem else "DER", "-noout", "-text"],
                              capture_output=True, text=True).stdout
        how = ["-rawin"] + ([] if "ED25519" in kind.upper() else ["-digest", "sha256"])
        return subprocess.run(["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", key, "-keyform", "PEM" if pem else "DER",
                               *how, "-in", text, "-sigfile", sig], capture_output=True).returncode == 0


def raw_ed25519(pem):
    """The 32 bytes of an Ed25519 public key in PEM, or None for another kind."""
    der = base64.b64decode("".join(line for line in pem.splitlines() if "-----" not in line))
    return der[len(ED25519_SPKI):] if der.startswith(ED25519_SPKI) else None


def log_keys(arguments, origin):
    """Trusted log keys as (name, 4-byte id, 32 bytes)."""
    if arguments.key:
        name, identity, encoded = arguments.key.split("+", 2)
        found = [(name, bytes.fromhex(identity), base64.b64decode(encoded)[1:])]
    else:
        document = tomllib.loads(arguments.trust.read_text())
        if origin not in document.get("ledgers", []):
            raise Wrong(f"{arguments.trust}: does not know a ledger named {origin}")
        raw = [raw_ed25519(key["public"]) for key in document["key"] if "log" in key["purposes"]]
        found = [(origin, sha256(origin.encode(), b"\n\x01", key)[:4], key) for key in raw if key]
    for name, identity, key in found:
        if sha256(name.encode(), b"\n\x01", key)[:4] != identity:
            raise Wrong(f"the key id {identity.hex()} does not belong to {name}'s key")
    return found


def checkpoint(arguments):
    """Size and root of the checkpoint, after its signature was checked."""
    text, _, signatures = (arguments.ledger / "checkpoint").read_text().rpartition("\n\n")
    text += "\n"
    origin, size, root = text.splitlines()
    keys = log_keys(arguments, origin)
    for line in signatures.splitlines():
        _, name, encoded = line.split(" ")
        signature = base64.b64decode(encoded)
        for known, identity, key in keys:
            if (name, signature[:4]) == (known, identity):
                if not openssl_verifies(ED25519_SPKI + key, signature[4:], text.encode()):
                    raise Wrong(f"checkpoint: the signature of {name} does not fit")
                print(f"checkpoint   {origin}, {size} entries, root {root}, signed by {name} ({identity.hex()})")
                return int(size), base64.b64decode(root)
    raise Wrong("checkpoint: no signature by a trusted log key")


def tile_path(level, index, width):
    groups = [f"{index % 1000:03}"]
    while index := index // 1000:
        groups.insert(0, f"x{index % 1000:03}")
    return f"tile/{level}/{'/'.join(groups)}" + ("" if width == WIDTH else f".p/{width}")


def tiles(ledger, level, count):
    """Every tile of a level: (name, width, bytes)."""
    for index in range((count + WIDTH - 1) // WIDTH):
        width = min(WIDTH, count - index * WIDTH)
        name = tile_path(level, index, width)
        if not (ledger / name).is_file():
            raise Wrong(f"{name}: is missing")
        yield name, width, (ledger / name).read_bytes()


def entries(ledger, size):
    """Every entry in order: (bundle's name, bytes)."""
    for name, width, data in tiles(ledger, "entries", size):
        at = 0
        for _ in range(width):
            length = int.from_bytes(data[at:at + 2])
            entry = data[at + 2:at + 2 + length]
            if len(entry) != length or not length:
                raise Wrong(f"{name}: ends within an entry at byte {at}")
            yield f"{name} byte {at}", entry
            at += 2 + length
        if at != len(data):
            raise Wrong(f"{name}: bytes after the last entry at byte {at}")


def check(arguments):
    size, root = checkpoint(arguments)
    leaves, before, first, wanted = [], 0, None, None
    for number, (where, entry) in enumerate(entries(arguments.ledger, size)):
        try:
            value = json.loads(entry)
            at = value["recordedAt"]
            if value["v"] != 1 or set(value) != {"v", "recordedAt", "envelope"} or not isinstance(at, int):
                raise ValueError("not an entry of version 1")
        except (ValueError, KeyError, TypeError) as error:
            raise Wrong(f"{where}: entry {number}: {error}") from None
        if at < before:
            raise Wrong(f"{where}: entry {number} was recorded before the one before it")
        before, first = at, first if first is not None else at
        leaves.append(sha256(b"\x00", entry))
        wanted = value if number == arguments.entry else wanted
    if leaves:
        span = [datetime.fromtimestamp(at // 10**6, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ") for at in (first, before)]
        print(f"entries      {size} read, recorded {span[0]} to {span[1]}, never going back")

    level, hashes = 0, leaves
    while hashes:
        for index, (name, width, data) in enumerate(tiles(arguments.ledger, level, len(hashes))):
            expected = b"".join(hashes[index * WIDTH:index * WIDTH + width])
            if data != expected:
                place = next((i for i, (a, b) in enumerate(zip(data, expected)) if a != b), min(len(data), len(expected)))
                raise Wrong(f"{name}: is not what the entries give, at byte {place}")
        # The level above has one hash for each full tile of this one.
        full = len(hashes) // WIDTH
        print(f"tiles        level {level}: {len(hashes)} hashes equal those of the entries")
        level, hashes = level + 1, [root_of(hashes[i * WIDTH:(i + 1) * WIDTH]) for i in range(full)]
    if root_of(leaves) != root:
        raise Wrong("the root over all entries is not the checkpoint's")
    print(f"root         over {size} entries equals the checkpoint's")
    if arguments.entry is not None:
        if wanted is None:
            raise Wrong(f"there is no entry {arguments.entry}: there are {size}, counted from 0")
        one(arguments, size, root, leaves, wanted)


def one(arguments, size, root, leaves, value):
    """Prove one entry against the root, and check its envelope's signatures."""
    proof = path_of(arguments.entry, leaves)
    if root_from(arguments.entry, size, leaves[arguments.entry], proof) != root:
        raise Wrong(f"entry {arguments.entry}: its proof does not lead to the root")
    print(f"inclusion    entry {arguments.entry}: {len(proof)} hashes lead from its leaf to the root")
    envelope = value["envelope"]
    payload = base64.b64decode(envelope["payload"])
    try:
        statement = json.loads(payload)
    except ValueError:
        statement = {}
    print(f"statement    sha256 {hashlib.sha256(payload).hexdigest()} {statement.get('predicateType', '(not a statement)')}")
    if not arguments.trust:
        print("signatures   not checked: --trust has the producers' keys")
        return
    kind = envelope["payloadType"].encode()
    message = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    for key in tomllib.loads(arguments.trust.read_text())["key"]:
        if key["purposes"] == ["log"]:
            continue  # A log's key vouches for the order, never for what an entry says.
        for signature in envelope["signatures"]:
            if openssl_verifies(key["public"].encode(), base64.b64decode(signature["sig"]), message):
                print(f"signature    by {key['name']} ({', '.join(key['purposes'])}), {key['id']}")
                return
    raise Wrong(f"entry {arguments.entry}: no signature by a trusted key")


def main():
    parser = argparse.ArgumentParser(description="Check a Writ ledger without Writ.")
    parser.add_argument("ledger", type=Path, help="the ledger's directory: STORE/ledger")
    keys = parser.add_mutually_exclusive_group(required=True)
    keys.add_argument("--trust", type=Path, help="trust.toml with the keys that are believed")
    keys.add_argument("--key", help="the log's public key: NAME+ID+BASE64")
    parser.add_argument("--entry", type=int, help="also prove this entry, counted from 0")
    try:
        check(parser.parse_args())
    except (Wrong, OSError, ValueError, KeyError) as error:
        print(f"WRONG        {error}", file=sys.stderr)
        sys.exit(1)


main()
