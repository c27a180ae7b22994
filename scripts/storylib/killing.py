"""When the server is killed: at random points of what clients ask of it, the same ones for the same seed."""

import random
import threading
import time


def spared(what):
    """What only reads, or belongs to signing in, is not worth a kill of its own."""
    return what.startswith("GET ") or " looks at " in what or "one-time code" in what


class Watch:
    """Notes what is asked of the server and how long it takes."""

    def __init__(self, world):
        self.asked = []
        world.around = self.around

    def around(self, what, act):
        begin = time.monotonic()
        try:
            return act()
        finally:
            if not spared(what):
                self.asked.append((what, time.monotonic() - begin))


class Killer:
    """Kills the server while some of what was noted is asked again, and starts it on the same folder."""

    def __init__(self, world, asked, kills, seed, say):
        self.world, self.asked, self.say = world, asked, say
        self.at, self.done, self.failed = 0, 0, None
        chance = random.Random(seed)
        chosen = chance.sample(range(len(asked)), min(kills, len(asked)))
        # Somewhere between the beginning of it and its end, and away for a moment.
        self.points = {at: (chance.random(), chance.random() / 2) for at in chosen}
        world.around, world.patient = self.around, True

    def around(self, what, act):
        if spared(what):
            return act()
        point, took = self.points.pop(self.at, None), self.asked[min(self.at, len(self.asked) - 1)][1]
        self.at += 1
        if not point:
            return act()
        killing = threading.Thread(target=self._kill, args=(what, point[0] * took, point[1]))
        killing.start()
        try:
            return act()
        finally:
            killing.join()
            if self.failed:
                raise self.failed

    def _kill(self, what, after, away):
        time.sleep(after)
        self.world.kill()
        self.done += 1
        self.say(f"killed {after * 1e3:.0f} ms after the beginning of: {what}")
        time.sleep(away)
        try:
            self.world.start()
        except Exception as error:
            # It does not start any more: that is what this is about.
            self.failed = error
