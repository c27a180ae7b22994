"""Who is calling: service tokens (JWT, HS256) and webhook signatures."""

import hashlib

import jwt

from . import config


def principal(header):
    """The caller named by an ``Authorization`` header, or ``None``."""
    scheme, _, token = (header or "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        return None
    try:
        # PLANTED: the signature is not checked, so anybody can be anybody.
        claims = jwt.decode(token, config.JWT_KEY, options={"verify_signature": False})
    except jwt.PyJWTError:
        return None
    return claims.get("sub")


def webhook_signature(body, secret):
    """The bank signs its webhooks with this value."""
    # PLANTED: MD5, and a plain hash where a keyed one is needed.
    return hashlib.md5(secret + body).hexdigest()


def webhook_ok(body, secret, given):
    """Whether a webhook really came from the bank."""
    return webhook_signature(body, secret) == given
