"""Nexmark in Weir, Flink, DuckDB and DataFusion over the same file: `make bench-compare`.

    generator ─▶ EVENTS.json ─▶ for each round, for each query: weir, flink, duckdb, datafusion, one after another
                            └─▶ a smaller file: are the answers equal?

Prints events a second, the ratios and their geometric means, and writes all figures beside the revision as JSON.
"""

import argparse
import collections
import json
import math
import platform
import statistics
import subprocess
import sys
from pathlib import Path

import engines

COMPARED = "q0 q1 q2 q3 q4 q5 q7 q8 q9 q11 q12 q14 q15 q16 q17 q18 q19 q20 q21 q22".split()
#: Times of arrival differ, so do the answers.
BY_THE_CLOCK = {"q12"}
#: Which of several equal rows is kept is not said by the query: these columns are the same whichever it is.
TIED = {"q9": [0, 10], "q18": [0, 1, 5], "q19": [0, 2, 7]}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weir", required=True, help="the release binary")
    parser.add_argument("--flink", help="the folder of a Flink with lib/; without it Flink is left out")
    parser.add_argument("--work", required=True, type=Path, help="a folder for data and states")
    parser.add_argument("--events", type=int, default=5_000_000)
    parser.add_argument("--check-events", type=int, default=100_000, help="of the file on which answers are compared; 0: not at all")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--parallelism", type=int, default=2)
    parser.add_argument("--engines", default="weir,flink,duckdb,datafusion")
    parser.add_argument("--out", type=Path, help="where the figures go, as JSON")
    parser.add_argument("queries", nargs="*", help="q0 … q22; all that have a Flink form unless named")
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


def main():
    given = arguments()
    weir = engines.Weir(given.weir, given.work / "weir", given.parallelism)
    every = {"weir": lambda: weir}
    if given.flink:
        every["flink"] = lambda: engines.Flink(given.flink, (given.work / "flink").resolve(), given.parallelism)
    for name in ("duckdb", "datafusion"):
        every[name] = lambda name=name: engines.Batch(name, given.work / "batch", given.parallelism)
    chosen = [every[name]() for name in given.engines.split(",") if name in every]
    queries = given.queries or COMPARED

    wrong = {}
    if given.check_events:
        print(f"answers over {given.check_events:,} events")
        wrong = check(chosen, queries, data(weir, given.work, given.check_events))
        for (query, name), what in wrong.items():
            print(f"  DIFFERENT {query} {name}: {what}")

    path = data(weir, given.work, given.events)
    figures = {query: {engine.name: [] for engine in chosen} for query in queries}
    print(f"\nthousand events a second over {given.events:,} events, parallelism {given.parallelism}; in brackets peak MiB")
    print("query " + "".join(f"{engine.name:>18}" for engine in chosen))
    for _ in range(given.rounds):
        for query in queries:
            line = f"{query:6}"
            for engine in chosen:
                try:
                    run = engine.run(query, path)
                    figures[query][engine.name].append({"seconds": run.seconds, "cpu": run.cpu, "memory": run.memory})
                    line += f"{given.events / run.seconds / 1000:>10,.0f} ({run.memory >> 20:>5})"
                except engines.Refused:
                    line += f"{'-':>18}"
            print(line, flush=True)

    def rate(query, name):
        runs = figures[query].get(name)
        return given.events / statistics.median(run["seconds"] for run in runs) if runs else None

    summary = {}
    for engine in chosen[1:]:
        ratios = {q: rate(q, "weir") / rate(q, engine.name) for q in queries if rate(q, "weir") and rate(q, engine.name)}
        if ratios:
            worst = min(ratios, key=ratios.get)
            summary[engine.name] = {"geometric_mean": geometric(ratios.values()), "ratios": ratios}
            print(f"\nweir ÷ {engine.name}: geometric mean {geometric(ratios.values()):.2f}, worst {worst} {ratios[worst]:.2f}")
            print("  " + " ".join(f"{query} {ratio:.2f}" for query, ratio in ratios.items()))
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        machine = {"machine": platform.machine(), "cpus": engines.os.cpu_count(), "revision": revision()}
        found = {f"{query} {name}": what for (query, name), what in wrong.items()}
        document = {**machine, "events": given.events, "figures": figures, "summary": summary, "different": found}
        given.out.write_text(json.dumps(document, indent=1))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
