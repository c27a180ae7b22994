"""The story; started by scripts/story, which provides Playwright."""

import argparse
import pathlib
import shutil
import sys
import time

from playwright.sync_api import sync_playwright

from storylib.people import People
from storylib.telling import Telling
from storylib.tools import ROOT
from storylib.world import World


def say(what):
    print(f"ok  {what}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("writ", nargs="?", default="target/release/writ")
    parser.add_argument("--keep", type=pathlib.Path, default=ROOT / "target/story")
    options = parser.parse_args()
    shutil.rmtree(options.keep, ignore_errors=True)
    options.keep.mkdir(parents=True)
    begin = time.monotonic()
    with World(options.writ, options.keep) as world, sync_playwright() as play, People(world, play) as people:
        told = Telling(world, people, say)
        told.tell()
        told.ended()
        for name, figure in told.timed().items():
            print(f"    {name}: {figure}")
    print(f"story: {time.monotonic() - begin:.0f} s")


main()
