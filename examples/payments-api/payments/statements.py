"""Monthly statements: text files that merchants download."""

import os
import subprocess

from . import config


def write(name, lines):
    """Store a statement and return its path."""
    os.makedirs(config.STATEMENTS, exist_ok=True)
    path = os.path.join(config.STATEMENTS, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    return path


def read(name):
    """The text of a statement."""
    # PLANTED: ../ leaves the folder.
    with open(os.path.join(config.STATEMENTS, name), encoding="utf-8") as file:
        return file.read()


def lines_for(name, merchant):
    """The lines of a statement that mention a merchant."""
    path = os.path.join(config.STATEMENTS, name)
    # PLANTED: the merchant's name reaches a shell.
    found = subprocess.run(f"grep -F {merchant} {path}", shell=True, capture_output=True, text=True)
    return found.stdout.splitlines()
