"""The HTTP face: a small WSGI application (gunicorn in the image, wsgiref for development)."""

import json
import os
from urllib.parse import parse_qs

from . import __version__, auth, config, settlement, statements
from .ledger import Ledger
from .money import Money, MoneyError
from .retry import RetryBudget
from .store import Store

PAGE = """<!doctype html><html lang="en"><title>Payments</title>
<h1>Payments of {merchant}</h1><ul>{rows}</ul>
<form action="/payments"><input name="merchant" value="acme"><button>Search</button></form>
<p><a href="/statements?name=2026-10.txt&amp;merchant=acme">October statement</a>
<a href="/go?to=/payments?merchant=acme">all payments of acme</a></p></html>"""


class Api:
    """Routes requests to the store, the ledger and settlement."""

    def __init__(self, store, send):
        self.store = store
        self.send = send
        self.ledger = Ledger()
        self.budget = RetryBudget()

    def __call__(self, environ, start_response):
        query = {name: values[0] for name, values in parse_qs(environ.get("QUERY_STRING", "")).items()}
        route = (environ["REQUEST_METHOD"], environ.get("PATH_INFO", "/"))
        handlers = {
            ("GET", "/healthz"): self.health,
            ("GET", "/"): self.page,
            ("GET", "/payments"): self.page,
            ("GET", "/statements"): self.statement,
            ("GET", "/go"): self.go,
            ("POST", "/payments"): self.take,
            ("POST", "/settlements"): self.settle,
        }
        handler = handlers.get(route)
        if handler is None:
            status, kind, body, extra = "404 Not Found", "application/json", '{"error":"no such page"}', []
        else:
            status, kind, body, extra = handler(query, environ)
        start_response(status, [("Content-Type", kind)] + extra)
        return [body.encode()]

    def health(self, query, environ):
        """Alive, and which version."""
        return "200 OK", "application/json", json.dumps({"ok": True, "version": __version__}), []

    def page(self, query, environ):
        """A merchant's payments as a page for the back office."""
        merchant = query.get("merchant", "acme")
        rows = "".join(f"<li>{row['id']} {row['minor']} {row['currency']}</li>" for row in self.store.search(merchant))
        # PLANTED: the merchant's name goes into the page as it came.
        return "200 OK", "text/html; charset=utf-8", PAGE.format(merchant=merchant, rows=rows), []

    def statement(self, query, environ):
        """A statement, or the lines of it that concern a merchant."""
        name = query.get("name", "")
        try:
            text = "\n".join(statements.lines_for(name, query["merchant"])) if "merchant" in query else statements.read(name)
        except OSError:
            return "404 Not Found", "text/plain", "no such statement", []
        return "200 OK", "text/plain; charset=utf-8", text, []

    def go(self, query, environ):
        """Back to where the user came from."""
        # PLANTED: redirects anywhere.
        return "302 Found", "text/plain", "", [("Location", query.get("to", "/"))]

    def take(self, query, environ):
        """Take a payment: ``{"id", "merchant", "currency", "minor"}``."""
        who = auth.principal(environ.get("HTTP_AUTHORIZATION"))
        if who is None:
            return "401 Unauthorized", "application/json", '{"error":"no valid token"}', []
        try:
            data = json.loads(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))
            taken = settlement.Capture(data["id"], data["merchant"], Money(data["currency"], data["minor"]))
        except (ValueError, KeyError, TypeError, MoneyError) as error:
            return "400 Bad Request", "application/json", json.dumps({"error": str(error)}), []
        settlement.capture(self.ledger, taken)
        self.store.add(taken.id, taken.merchant, taken.amount.currency, taken.amount.minor)
        return "201 Created", "application/json", json.dumps({"id": taken.id, "by": who}), []

    def settle(self, query, environ):
        """Pay out everything captured so far."""
        if auth.principal(environ.get("HTTP_AUTHORIZATION")) != "settlement-job":
            return "403 Forbidden", "application/json", '{"error":"only the settlement job may settle"}', []
        captures = [
            settlement.Capture(row["id"], row["merchant"], Money(row["currency"], row["minor"]))
            for row in self.store.captured()
        ]
        payouts = settlement.batch(query.get("day", "today"), captures)
        failed = settlement.settle(self.ledger, payouts, self.send, self.budget)
        refused = {reference for reference, _ in failed}
        for payout in payouts:
            if payout.reference not in refused:
                self.store.settled(payout.merchant, payout.gross.currency)
        return "200 OK", "application/json", json.dumps({"paid": len(payouts) - len(failed), "failed": failed}), []


def application():
    """The application with its real parts, for gunicorn: ``payments.app:application()``."""
    from . import bank

    os.makedirs(config.STATEMENTS, exist_ok=True)
    return Api(Store(config.DATABASE), bank.sender(bank.client()))
