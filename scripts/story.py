"""The story; started by scripts/story, which provides Playwright."""

import argparse
import pathlib
import random
import shutil
import sys
import time
import traceback

from playwright.sync_api import sync_playwright

from storylib.killing import Killer, Watch
from storylib.people import People
from storylib.telling import Telling
from storylib.tools import ROOT, must, told_to_end
from storylib.world import World


def say(what):
    print(f"ok  {what}", flush=True)


def told(options, play, keep, begins):
    """Tells the story once, to its end; `begins` is given the world before anybody does anything."""
    keep.mkdir(parents=True)
    with World(options.writ, keep) as world, People(world, play) as people:
        noted = begins(world)
        telling = Telling(world, people, say)
        telling.tell()
        telling.ended()
        for name, figure in telling.timed().items():
            print(f"    {name}: {figure}", flush=True)
        return noted


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("writ", nargs="?", default="target/release/writ")
    parser.add_argument("--keep", type=pathlib.Path, default=ROOT / "target/story", help="where screenshots and logs go")
    parser.add_argument("--kills", type=int, default=12, metavar="N", help="how often the server is killed when the story is told again; 0: it is told once")
    parser.add_argument("--seed", type=int, help="chooses when it is killed")
    options = parser.parse_args()
    told_to_end()
    seed = random.randrange(1_000_000) if options.seed is None else options.seed
    shutil.rmtree(options.keep, ignore_errors=True)
    begin = time.monotonic()
    with sync_playwright() as play:
        try:
            watch = told(options, play, options.keep, Watch)
            if options.kills:
                print(f"the same again, with the server killed {options.kills} times, seed {seed}", flush=True)
                keep = options.keep / "killed"
                killer = told(options, play, keep, lambda world: Killer(world, watch.asked, options.kills, seed, lambda what: print(f"    {what}", flush=True)))
                must(killer.done == min(options.kills, len(watch.asked)), f"it was killed {killer.done} times")
        except Exception:
            traceback.print_exc()
            sys.exit(f"error: the story does not go as it must; screenshots and the server's log are in {options.keep}, seed {seed}")
    print(f"story: {time.monotonic() - begin:.0f} s; {options.keep}")


main()
