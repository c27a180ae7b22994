"""The bank's payout interface."""

import json
import ssl

import urllib3

from . import config
from .settlement import GatewayError


def client():
    """A connection pool for the bank."""
    # PLANTED: the bank's certificate is not checked.
    return urllib3.PoolManager(cert_reqs=ssl.CERT_NONE, assert_hostname=False, timeout=5.0, retries=False)


def sender(pool):
    """A ``send`` function for settlement that talks to the real bank."""

    def send(payout):
        body = {"reference": payout.reference, "amount": payout.net.minor, "currency": payout.net.currency}
        try:
            response = pool.request(
                "POST",
                f"{config.BANK_URL}/payouts",
                body=json.dumps(body).encode(),
                headers={"Authorization": f"Bearer {config.BANK_TOKEN}", "Content-Type": "application/json"},
            )
        except urllib3.exceptions.HTTPError as error:
            raise GatewayError(f"bank unreachable: {error}") from error
        if response.status >= 500:
            raise GatewayError(f"bank answered {response.status}")
        if response.status >= 400:
            raise ValueError(f"bank refused {payout.reference}: {response.status}")
        return json.loads(response.data)

    return send
