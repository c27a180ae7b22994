#!/usr/bin/env python3
"""Simulates one shared ledger under an organisation's load: how long until an entry is durable, proved and cosigned,
and how many requests the object store, PostgreSQL and the witnesses get.

    bench/scale_simulation.py                       the table of docs/scale.md
    bench/scale_simulation.py --entries-per-day 8e6 --interval 0.2 --hours 2

Events are drawn from a seeded generator, so that a run can be repeated. What is simulated is the protocol: group
commit through one locked row, integration at an interval by one lease holder, tile writes side by side, publication of
the checkpoint, cosignatures. What is given are the latencies of the outside parts (--help lists them); put in your own.
Only Python's standard library is used.
"""
import argparse
import heapq
import math
import random

TILE = 256


def draw(random_source, median, spread):
    """A log-normal latency in seconds: half below the median, about one in a hundred above median * spread."""
    return median * math.exp(random_source.gauss(0, math.log(spread) / 2.326))


def quantile(values, q):
    if not values:
        return float("nan")
    values = sorted(values)
    return values[min(len(values) - 1, int(q * len(values)))]


def arrivals(random_source, per_day, peak, hours):
    """Arrival times over `hours` around the busiest hour: a Poisson process at `peak` times the mean rate,
    and on top of it a CI run hands in its evidence as a burst."""
    rate = per_day / 86_400 * peak
    time, burst = 0.0, 12
    while True:
        # Bursts of about `burst` entries: one run's stages, decision and writ.
        time += random_source.expovariate(rate / burst)
        if time >= hours * 3600:
            return
        for _ in range(max(1, int(random_source.expovariate(1 / burst)))):
            yield time + random_source.uniform(0, 2.0)


def partial_objects(size):
    """Tiles that are not full in a tree of `size` entries, the bundle among them."""
    count, level_size, first = 0, size, True
    while level_size:
        if level_size % TILE:
            count += 2 if first else 1  # level 0 has a hash tile and an entry bundle
        level_size //= TILE
        first = False
    return count


def full_objects(before, after):
    """Tiles and bundles that became full between two sizes."""
    count, first = 0, True
    while after:
        grown = after // TILE - before // TILE
        count += grown * (2 if first else 1)
        before //= TILE
        after //= TILE
        first = False
    return count


def simulate(asked, interval, per_day):
    r = random.Random(asked.seed)
    times = sorted(arrivals(r, per_day, asked.peak, asked.hours))
    # Group commit: each process commits what it holds; the head row is locked by one commit at a time.
    processes = [[] for _ in range(asked.processes)]
    for time in times:
        processes[r.randrange(asked.processes)].append(time)
    events = [(queue[0], number) for number, queue in enumerate(processes) if queue]
    heapq.heapify(events)
    position = [0] * asked.processes
    row_free, commits, busy, durable, durable_at = 0.0, 0, 0.0, [], []
    while events:
        ready, number = heapq.heappop(events)
        start = max(ready, row_free)
        queue, first = processes[number], position[number]
        last = first
        while last < len(queue) and queue[last] <= start:
            last += 1
        done = start + draw(r, asked.commit_ms / 1000, 6)
        row_free = done
        commits += 1
        busy += done - start
        for time in queue[first:last]:
            durable.append(done - time)
            durable_at.append((done, time))
        position[number] = last
        if last < len(queue):
            heapq.heappush(events, (max(queue[last], done), number))
    durable_at.sort()
    # Integration: one lease holder, every `interval` when there is something new.
    size, puts, heads = asked.size, 0, 0
    proved, cosigned, index, clock = [], [], 0, 0.0
    witness_free, witness_requests, unsigned = 0.0, 0, []
    while index < len(durable_at):
        clock = max(clock, durable_at[index][0])
        clock = math.ceil(clock / interval) * interval
        end = index
        while end < len(durable_at) and durable_at[end][0] <= clock:
            end += 1
        grown = end - index
        objects = full_objects(size, size + grown) + partial_objects(size + grown)
        rounds = math.ceil(objects / asked.parallel)
        took = sum(max(draw(r, asked.put_ms / 1000, 5) for _ in range(min(objects, asked.parallel))) for _ in range(rounds))
        took += draw(r, asked.commit_ms / 1000, 6) + draw(r, asked.put_ms / 1000, 5)  # commit the head, publish the checkpoint
        size += grown
        puts += objects + 1
        heads += 1
        clock += took
        proved += [clock - time for _, time in durable_at[index:end]]
        unsigned += [time for _, time in durable_at[index:end]]
        # Witnesses are asked one head at a time, at most once in `witness_interval`.
        if clock >= witness_free:
            answered = clock + max(draw(r, asked.witness_ms / 1000, 5) for _ in range(asked.witnesses))
            witness_free = max(answered, clock + asked.witness_interval)
            witness_requests += asked.witnesses
            cosigned += [answered - time for time in unsigned]
            unsigned = []
        index = end
    return {
        "entries": len(times), "rate": len(times) / (asked.hours * 3600), "commits": commits / (asked.hours * 3600),
        "busy": busy / (asked.hours * 3600),
        "durable": (quantile(durable, 0.5), quantile(durable, 0.99)), "proved": (quantile(proved, 0.5), quantile(proved, 0.99)),
        "cosigned": (quantile(cosigned, 0.5), quantile(cosigned, 0.99)),
        "heads": heads / (asked.hours * 3600), "puts_hour": puts / asked.hours, "witness_hour": witness_requests / asked.hours,
        "per_entry": puts / max(1, len(times)),
    }


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--entries-per-day", type=float, help="one load in place of the table's")
    p.add_argument("--interval", type=float, help="one checkpoint interval in seconds in place of the table's")
    p.add_argument("--size", type=int, default=1_000_000_000, help="entries in the log at the start (default 1e9)")
    p.add_argument("--hours", type=float, default=0.25, help="simulated time (default 0.25)")
    p.add_argument("--peak", type=float, default=6, help="busiest hour over the mean (default 6)")
    p.add_argument("--processes", type=int, default=4, help="writer processes (default 4)")
    p.add_argument("--commit-ms", type=float, default=4, help="median commit of PostgreSQL, with its fsync (default 4)")
    p.add_argument("--put-ms", type=float, default=30, help="median PUT of the object store (default 30)")
    p.add_argument("--parallel", type=int, default=16, help="PUTs side by side (default 16)")
    p.add_argument("--witnesses", type=int, default=3, help="witnesses asked for each head (default 3)")
    p.add_argument("--witness-ms", type=float, default=120, help="median answer of a witness (default 120)")
    p.add_argument("--witness-interval", type=float, default=10, help="seconds between two heads for the witnesses (default 10)")
    p.add_argument("--seed", type=int, default=1, help="of the generator (default 1)")
    asked = p.parse_args()
    loads = [asked.entries_per_day] if asked.entries_per_day else [8e4, 8e5, 8e6, 8e7]
    intervals = [asked.interval] if asked.interval else [0.2, 1.0, 5.0]
    print("| entries a day | peak entries/s | checkpoint every | commits/s | row lock busy | durable p50 / p99 | proved p50 / p99 | cosigned p50 / p99 | PUTs an hour | PUTs an entry |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    ms = lambda pair: " / ".join(f"{value * 1000:,.0f} ms" if value < 10 else f"{value:,.1f} s" for value in pair)
    for load in loads:
        for interval in intervals:
            if load * asked.hours / 24 * asked.peak > 4e7:
                continue
            s = simulate(asked, interval, load)
            print(f"| {load:,.0f} | {s['rate']:,.1f} | {interval:g} s | {s['commits']:,.1f} | {s['busy']:.0%} | {ms(s['durable'])} | {ms(s['proved'])} | "
                  f"{ms(s['cosigned'])} | {s['puts_hour']:,.0f} | {s['per_entry']:.2f} |")


if __name__ == "__main__":
    main()
