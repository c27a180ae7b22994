"""Ed25519 keys by openssl, and statements that they sign: what programs do that are not Writ."""

import base64
import hashlib
import json
import subprocess

from .tools import program

PAYLOAD = "application/vnd.in-toto+json"


class Key:
    """A key of its own, in a folder."""

    def __init__(self, folder, name):
        self.folder, self.name, self.file = folder, name, folder / f"{name}.pem"
        subprocess.run([program("openssl"), "genpkey", "-algorithm", "ed25519", "-out", self.file], check=True, stderr=subprocess.DEVNULL)
        self.public = folder / f"{name}.pub"
        subprocess.run([program("openssl"), "pkey", "-in", self.file, "-pubout", "-out", self.public], check=True)
        text = self.public.read_text().splitlines()
        der = base64.b64decode("".join(line for line in text if not line.startswith("-")))
        # The last 32 bytes of its SubjectPublicKeyInfo (RFC 8410) are the key; its digest is how Writ calls it.
        self.raw, self.id = der[-32:], hashlib.sha256(der).hexdigest()

    def sign(self, message):
        # Ed25519 signs a whole message at once: openssl wants it as a file.
        text, mark = self.folder / f"{self.name}.message", self.folder / f"{self.name}.signature"
        text.write_bytes(message)
        subprocess.run([program("openssl"), "pkeyutl", "-sign", "-rawin", "-inkey", self.file, "-in", text, "-out", mark], check=True)
        return mark.read_bytes()

    def envelope(self, predicate_type, predicate, subjects):
        """An in-toto statement in a signed DSSE envelope, as POST /api/v1/evidence takes it."""
        statement = {"_type": "https://in-toto.io/Statement/v1", "subject": subjects, "predicateType": predicate_type, "predicate": predicate}
        payload = json.dumps(statement, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        return self.sealed(payload)

    def sealed(self, payload):
        message = b" ".join([b"DSSEv1", str(len(PAYLOAD)).encode(), PAYLOAD.encode(), str(len(payload)).encode(), payload])
        mark = base64.b64encode(self.sign(message)).decode()
        return {"payload": base64.b64encode(payload).decode(), "payloadType": PAYLOAD, "signatures": [{"keyid": self.id, "sig": mark}]}
