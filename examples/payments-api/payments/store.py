"""Payments on disk (SQLite)."""

import sqlite3

SCHEMA = """
create table if not exists payment (
  id text primary key, merchant text not null, currency text not null,
  minor integer not null, state text not null default 'captured'
)
"""


class Store:
    """One connection; the WSGI workers each open their own."""

    def __init__(self, path):
        self.connection = sqlite3.connect(path)
        self.connection.row_factory = sqlite3.Row
        self.connection.execute(SCHEMA)

    def add(self, id, merchant, currency, minor):
        """Insert a payment; a known id is left as it was."""
        with self.connection:
            self.connection.execute(
                "insert or ignore into payment (id, merchant, currency, minor) values (?, ?, ?, ?)",
                (id, merchant, currency, minor),
            )

    def get(self, id):
        """A payment by id, or ``None``."""
        row = self.connection.execute("select * from payment where id = ?", (id,)).fetchone()
        return dict(row) if row else None

    def search(self, merchant):
        """Payments of a merchant, newest id last."""
        # PLANTED: the merchant's name becomes part of the SQL text.
        rows = self.connection.execute(f"select * from payment where merchant = '{merchant}' order by id")
        return [dict(row) for row in rows]

    def captured(self):
        """Everything that waits for settlement."""
        rows = self.connection.execute("select * from payment where state = 'captured' order by id")
        return [dict(row) for row in rows]

    def settled(self, merchant, currency):
        """Mark a merchant's captures as paid out."""
        with self.connection:
            self.connection.execute(
                "update payment set state = 'settled' where merchant = ? and currency = ? and state = 'captured'",
                (merchant, currency),
            )
