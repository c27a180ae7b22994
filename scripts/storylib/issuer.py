"""A CI system's identity provider: it signs a token for each job, and nothing else vouches for the job."""

import base64
import itertools
import json
import time

from .keys import Key

URL = "https://gitlab.example.com"


def _b64(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Issuer:
    """Its public keys are a file, as a server that may not reach out is given them."""

    def __init__(self, folder):
        self.key, self.numbers = Key(folder, "issuer"), itertools.count(1)
        key = {"kty": "OKP", "crv": "Ed25519", "kid": "k1", "use": "sig", "alg": "EdDSA", "x": _b64(self.key.raw)}
        self.jwks = folder / "jwks.json"
        self.jwks.write_text(json.dumps({"keys": [key]}))

    def rule(self, service, audience):
        """What the server is told of it."""
        return f"""
[[workload]]
name = "{service}-gitlab"
kind = "gitlab"
issuer = "{URL}"
jwks = "{self.jwks}"
algorithms = ["EdDSA"]
audience = "{audience}"
services = ["{service}"]

[workload.claims]
project_path = "group/{service}"
project_id = "42"
"""

    def token(self, service, audience, commit):
        """The identity of one job on the protected branch, for five minutes."""
        now, number = int(time.time()), next(self.numbers)
        claims = {
            "iss": URL, "sub": f"project_path:group/{service}:ref_type:branch:ref:main", "aud": audience,
            "iat": now, "nbf": now, "exp": now + 300, "jti": f"{now}-{number}", "project_path": f"group/{service}",
            "project_id": "42", "pipeline_id": str(number), "job_id": str(100 + number), "ref": "main", "ref_type": "branch",
            "ref_path": "refs/heads/main", "ref_protected": "true", "pipeline_source": "push", "sha": commit,
        }
        head = {"typ": "JWT", "alg": "EdDSA", "kid": "k1"}
        signed = ".".join(_b64(json.dumps(part).encode()) for part in (head, claims))
        return f"{signed}.{_b64(self.key.sign(signed.encode()))}"
