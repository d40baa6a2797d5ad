"""Nexmark in Weir, Flink, DuckDB and DataFusion over the same file: `make bench-compare`.

    generator ─▶ EVENTS.json ─▶ for each round, for each query: weir, flink, duckdb, datafusion, one after another
                            └─▶ a smaller file: are the answers equal?

Prints events a second, CPU, memory, the ratios and their geometric means, and writes all figures beside the revision as JSON.
Weir's seconds are those of its process from start to end; Flink's those of its job, without the JVM's start and the planning;
those of the batch engines without Python's start.
"""

import argparse
import collections
import json
import math
import statistics
import subprocess
import sys
from pathlib import Path

import engines
import setup

COMPARED = "q0 q1 q2 q3 q4 q5 q7 q8 q9 q11 q12 q14 q15 q16 q17 q18 q19 q20 q21 q22".split()
#: Times of arrival differ, so do the answers.
BY_THE_CLOCK = {"q12"}
#: Which of several equal rows is kept is not said by the query: these columns are the same whichever it is.
TIED = {"q9": [0, 10], "q18": [0, 1, 5], "q19": [0, 2, 7]}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weir", required=True, help="the release binary")
    parser.add_argument("--flink", help="the folder of a Flink with lib/, instead of the one from PyPI")
    parser.add_argument("--work", type=Path, help="a folder for data and states, instead of the one in the cache")
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--check-events", type=int, default=100_000, help="of the file on which answers are compared; 0: not at all")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--parallelism", type=int, default=2)
    parser.add_argument("--engines", default="weir,flink,duckdb,datafusion")
    parser.add_argument("--queries", default=",".join(COMPARED), help="q0,q4,…; all that have a Flink form unless named")
    parser.add_argument("--out", type=Path, help="where the figures go, as JSON; else results/ in the cache, by revision")
    return parser.parse_args()


def data(weir, work, events):
    """The folder with the file of so many events, made once."""
    folder = (work / f"events-{events}").resolve()
    if not (folder / "done").exists():
        weir.generate(events, folder / "data")
        (folder / "done").touch()
    return folder / "data"


def geometric(ratios):
    ratios = [ratio for ratio in ratios if ratio]
    return math.exp(statistics.fmean(map(math.log, ratios))) if ratios else float("nan")


def untied(query, answer):
    """The answer without the columns that hang on how ties are broken."""
    taken = TIED.get(query)
    if taken is None:
        return answer
    rows = collections.Counter()
    for row, count in answer.items():
        rows[tuple(row[place] for place in taken)] += count
    return dict(rows)


def check(chosen, queries, path):
    """Which answers are not those of the first engine: {(query, engine): what}."""
    wrong = {}
    for query in queries:
        answers = {}
        for engine in chosen:
            try:
                answers[engine.name] = untied(query, engine.answer(query, path))
            except engines.Refused as refused:
                wrong[query, engine.name] = f"failed: {refused}"
        for name, answer in answers.items():
            ours = answers.get("weir")
            if query in BY_THE_CLOCK or ours is None:
                continue
            if answer != ours:
                missing = [row for row in answer if answer[row] != ours.get(row)]
                extra = [row for row in ours if ours[row] != answer.get(row)]
                wrong[query, name] = f"{sum(answer.values())} rows, weir has {sum(ours.values())}; first: {missing[:1]} and {extra[:1]}"
        print(f"  {query}: " + ", ".join(f"{n} {sum(a.values())} rows" for n, a in answers.items()), flush=True)
    return wrong


def revision():
    answer = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=engines.ROOT)
    return answer.stdout.strip()


def results(name):
    """Where figures go unless told otherwise: beside the revision, outside the repository."""
    return setup.cache() / "work" / "results" / f"{name}-{revision()}.json"


def measure(chosen, queries, path, given):
    """All runs, engines alternating: {query: {engine: [figures]}}."""
    figures = {query: {engine.name: [] for engine in chosen} for query in queries}
    print(f"\nthousand events a second over {given.events:,} events, parallelism {given.parallelism}; in brackets CPU seconds, peak MiB")
    print("query " + "".join(f"{engine.name:>24}" for engine in chosen), flush=True)
    for _ in range(given.rounds):
        for query in queries:
            line = f"{query:6}"
            for engine in chosen:
                try:
                    run = engine.run(query, path)
                    figures[query][engine.name].append({"seconds": run.seconds, "cpu": run.cpu, "memory": run.memory})
                    line += f"{given.events / run.seconds / 1000:>10,.0f} ({run.cpu:>6.1f} {run.memory >> 20:>5})"
                except engines.Refused as refused:
                    line += f"{'-':>24}"
                    print(f"  {query} {engine.name}: {refused}", file=sys.stderr)
            print(line, flush=True)
    return figures


def ratios(chosen, queries, figures, what):
    """How many times less of it Weir takes than another engine, in the median: {engine: {query: ratio}}."""
    def median(query, name):
        runs = figures[query].get(name)
        return statistics.median(run[what] for run in runs) if runs else None

    found = {}
    for engine in chosen[1:]:
        both = {q: (median(q, "weir"), median(q, engine.name)) for q in queries}
        found[engine.name] = {q: theirs / ours for q, (ours, theirs) in both.items() if ours and theirs}
    return found


def main():
    given = arguments()
    work = given.work or setup.cache() / "work"
    names = given.engines.split(",")
    weir = engines.Weir(given.weir, work / "weir", given.parallelism)
    every = {"weir": lambda: weir}
    if "flink" in names and (home := given.flink or setup.flink()):
        every["flink"] = lambda: engines.Flink(home, (work / "flink").resolve(), given.parallelism)
    for name in ("duckdb", "datafusion"):
        every[name] = lambda name=name: engines.Batch(name, setup.environment(), work / "batch", given.parallelism)
    chosen = [every[name]() for name in names if name in every]
    queries = given.queries.split(",")

    wrong = {}
    if given.check_events:
        print(f"answers over {given.check_events:,} events", flush=True)
        wrong = check(chosen, queries, data(weir, work, given.check_events))
        for (query, name), what in wrong.items():
            print(f"  DIFFERENT {query} {name}: {what}")

    figures = measure(chosen, queries, data(weir, work, given.events), given)
    faster = ratios(chosen, queries, figures, "seconds")
    lighter = ratios(chosen, queries, figures, "memory")
    print("\nweir ÷ others, events a second; whether the answers agree")
    print("query " + "".join(f"{name:>12}" for name in faster) + "  agree")
    for query in queries:
        agree = [name for name in faster if (query, name) in wrong]
        said = "by the clock" if query in BY_THE_CLOCK else "not " + ", ".join(agree) if agree else "yes" if given.check_events else "not asked"
        print(f"{query:6}" + "".join(f"{faster[name].get(query, float('nan')):>12.2f}" for name in faster) + f"  {said}")
    summary = {}
    for name in faster:
        if faster[name]:
            worst = min(faster[name], key=faster[name].get)
            mean, memory = geometric(faster[name].values()), geometric(lighter[name].values())
            summary[name] = {"geometric_mean": mean, "ratios": faster[name], "memory_ratios": lighter[name]}
            print(f"geometric mean weir / {name}: {mean:.2f} (worst {worst} {faster[name][worst]:.2f}); memory {name} / weir: {memory:.1f}")
    out = given.out or results("compare")
    out.parent.mkdir(parents=True, exist_ok=True)
    found = {f"{query} {name}": what for (query, name), what in wrong.items()}
    out.write_text(json.dumps({**engines.machine(), "revision": revision(), "events": given.events,
                               "figures": figures, "summary": summary, "different": found}, indent=1))
    print(f"figures: {out}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
