"""A retry budget: failing calls may be repeated only while enough calls succeed.

Retrying every failure doubles the load on a bank that is already struggling. The budget gives back
``ratio`` tokens for each success and takes one for each retry, so retries stay a fixed share of traffic.
"""


class RetryBudget:
    """Tokens for retries, between zero and ``capacity``."""

    def __init__(self, capacity=10, ratio=0.1):
        if capacity < 1 or not 0 < ratio <= 1:
            raise ValueError("capacity is at least 1 and ratio lies in (0, 1]")
        self.capacity = capacity
        self.ratio = ratio
        self.tokens = float(capacity)

    def success(self):
        """A call went through: give back a share of a retry."""
        self.tokens = min(float(self.capacity), self.tokens + self.ratio)

    def allow(self):
        """Take one retry from the budget, or say no."""
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


def call(budget, attempts, function, retry_on, pause):
    """Call ``function`` until it succeeds, at most ``attempts`` times and within the budget.

    ``pause(n)`` waits before the n-th repeat; it is handed in so that tests need no clock.
    """
    for attempt in range(1, attempts + 1):
        try:
            result = function()
        except retry_on:
            if attempt == attempts or not budget.allow():
                raise
            pause(attempt)
        else:
            budget.success()
            return result
    raise ValueError("attempts is at least 1")
