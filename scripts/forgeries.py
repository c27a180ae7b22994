"""The forgeries; started by scripts/forgeries, which provides Playwright."""

import argparse
import pathlib
import shutil
import sys
import textwrap
import time
import traceback

from playwright.sync_api import sync_playwright

from storylib.forging import Forger
from storylib.people import People
from storylib.tools import ROOT, told_to_end
from storylib.world import World


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("writ", nargs="?", default="target/release/writ")
    parser.add_argument("--keep", type=pathlib.Path, default=ROOT / "target/forgeries", help="where the server's log goes")
    options = parser.parse_args()
    told_to_end()
    shutil.rmtree(options.keep, ignore_errors=True)
    options.keep.mkdir(parents=True)
    begin, count = time.monotonic(), 0

    def tried(name, attempt, answer):
        nonlocal count
        count += 1
        print(f"refused  {name}")
        for label, text in (("tried", attempt), ("answer", answer)):
            print(textwrap.fill(text, 130, initial_indent=f"         {label:<8}", subsequent_indent=" " * 17), flush=True)

    with sync_playwright() as play:
        try:
            with World(options.writ, options.keep) as world, People(world, play) as people:
                Forger(world, people, tried).all()
        except Exception:
            traceback.print_exc()
            sys.exit(f"error: a forgery was not refused as it must be; the server's log is in {options.keep}")
    print(f"forgeries: {count} refused in {time.monotonic() - begin:.0f} s")


main()
