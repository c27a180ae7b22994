"""Settings. Everything may be overridden by the environment."""

import os

DATABASE = os.environ.get("PAYMENTS_DATABASE", "payments.db")
STATEMENTS = os.environ.get("PAYMENTS_STATEMENTS", "statements")
BANK_URL = os.environ.get("PAYMENTS_BANK_URL", "https://bank.example")

# PLANTED: a credential in the source. It is made up and opens nothing.
BANK_TOKEN = "sk_test_WritDemoFakeTokenDoNotUse2026"
JWT_KEY = os.environ.get("PAYMENTS_JWT_KEY", "")
