"""Every outcome that pytest writes into JUnit XML."""
import pytest


def test_passes():
    assert 1 + 1 == 2


def test_fails():
    assert 1 + 1 == 3, "sums & <differences>"


@pytest.fixture
def broken():
    raise OSError("no database")


def test_cannot_start(broken):
    pass


@pytest.mark.skip(reason="needs the bank")
def test_is_skipped():
    pass


@pytest.mark.xfail(reason="rounding, known")
def test_is_expected_to_fail():
    assert False


@pytest.mark.parametrize("amount", [1, 2, 3])
def test_many(amount):
    assert amount < 3
