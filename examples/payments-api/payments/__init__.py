"""Payments API: takes card payments, books them twice, settles them in batches."""

__version__ = "2026.47.1"
