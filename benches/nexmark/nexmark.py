"""Every Nexmark query in Weir alone: `make bench-nexmark`.

    from   the file of JSON lines │ the generator in the process itself │ the generator with events made beforehand (prepared)
    into   blackhole │ files of changes
    at     parallelism 1 and 2, checkpoints every ten seconds into RocksDB

For each run: events a second, CPU seconds, peak memory, state, checkpoints, and where the workers' busy time went. Writes all
figures beside the revision as JSON. Seconds are those of the process from start to end. Of runs from prepared events they are
those of the job, from its start (the planning comes before it) to its last checkpoint, without the making of the events, which the
job notes: giving their memory back when the process ends is no work of the query's either. CPU seconds are always those of the
whole process, the making included.
"""

import argparse
import collections
import dataclasses
import json
import re
import sys
from pathlib import Path

import compare
import engines
import setup
import tables

QUERIES = [f"q{number}" for number in range(23)]
SINKS = {
    "blackhole": "'connector' = 'blackhole'",
    "files": "'connector' = 'filesystem', 'path' = 'result', 'format' = 'changelog-json'",
}
#: Kinds of operators by the end of their IDs; what is none of these counts as `other`.
STATELESS = ("source", "filter", "project", "sink")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weir", required=True, help="the release binary")
    parser.add_argument("--work", type=Path, help="a folder for data and states, instead of the one in the cache")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--queries", default=",".join(QUERIES))
    parser.add_argument("--parallelism", default="1,2")
    parser.add_argument("--from", dest="sources", default="file,generator,prepared")
    parser.add_argument("--into", default="blackhole,files")
    parser.add_argument("--out", type=Path, help="where the figures go, as JSON; else results/ in the cache, by revision")
    return parser.parse_args()


def statements(weir, query, source, sink, events, path):
    """The file to run. q10 and q13 have tables of their own beside the events: they are taken as they are."""
    tables_of = tables.weir(path) if source == "file" else tables.weir_generated(events, source == "prepared")
    return weir.statements(query, tables_of, SINKS[sink])


def of_the_job(output, run):
    """The run with the seconds of its job, without the making of events beforehand."""
    elapsed = int(re.search(r'"elapsed_micros": ?(\d+)', output)[1]) / 1e6
    # Each warning stands there twice: as a line, and in the summary. A table that is read twice is made once.
    making = sum(float(took) for _, took in set(re.findall(r"`(\w+)`: \d+ rows were made beforehand, in ([0-9.]+) s", output)))
    return dataclasses.replace(run, seconds=elapsed - making)


def checkpoints_of(work):
    """What the job noted of its checkpoints, and the busy seconds of its operators."""
    noted = [json.loads(line) for file in work.glob(".weir/*/statistics/checkpoints.jsonl") for line in file.read_text().splitlines()]
    busy = collections.Counter()
    for checkpoint in noted:
        for operator in checkpoint["operators"]:
            kind = operator["id"].rsplit("/", 1)[-1].split("(")[0].rstrip("0123456789_")
            busy[kind if kind in STATELESS else "stateful"] += operator["busy_micros"] / 1e6
    return {
        "checkpoints": len(noted),
        "checkpoint_millis": [checkpoint["total_micros"] / 1000 for checkpoint in noted],
        "state_bytes": noted[-1]["bytes_total"] if noted else 0,
        "busy_seconds": dict(busy),
    }


def main():
    given = arguments()
    work = given.work or setup.cache() / "work"
    path = compare.data(engines.Weir(given.weir, work / "weir"), work, given.events)
    print(f"{given.events:,} events; busy: seconds of all workers in sources (decoding), stateless operators, stateful ones, sinks")
    print(f"{'query':6}{'from':>10}{'into':>10}{'P':>3}{'events/s':>12}{'CPU s':>8}{'peak MiB':>10}{'state MiB':>10}{'checkpoints':>12}{'slowest ms':>11}   busy")
    figures = []
    for query in given.queries.split(","):
        for source in given.sources.split(","):
            for sink in given.into.split(","):
                for parallelism in given.parallelism.split(","):
                    weir = engines.Weir(given.weir, work / "weir", int(parallelism))
                    try:
                        output, run = weir.start(statements(weir, query, source, sink, given.events, path), "--json")
                        run = of_the_job(output, run) if source == "prepared" else run
                    except engines.Refused as refused:
                        print(f"{query:6}{source:>10}{sink:>10}{parallelism:>3}   {refused}", flush=True)
                        continue
                    noted = checkpoints_of(weir.work)
                    busy = collections.Counter(noted["busy_seconds"])
                    stateless = busy["filter"] + busy["project"]
                    slowest = max(noted["checkpoint_millis"], default=0)
                    print(
                        f"{query:6}{source:>10}{sink:>10}{parallelism:>3}{given.events / run.seconds:>12,.0f}{run.cpu:>8.2f}{run.memory >> 20:>10,}"
                        f"{noted['state_bytes'] / 2**20:>10.1f}{noted['checkpoints']:>12}{slowest:>11.0f}"
                        f"   {busy['source']:.2f} {stateless:.2f} {busy['stateful']:.2f} {busy['sink']:.2f}",
                        flush=True,
                    )
                    figures.append({"query": query, "from": source, "into": sink, "parallelism": int(parallelism),
                                    "seconds": run.seconds, "cpu": run.cpu, "memory": run.memory, **noted})
    out = given.out or compare.results("nexmark")
    out.parent.mkdir(parents=True, exist_ok=True)
    document = {**engines.machine(), "revision": compare.revision(), "events": given.events, "runs": figures}
    out.write_text(json.dumps(document, indent=1))
    print(f"figures: {out}")
    sys.exit(0 if figures else 1)


if __name__ == "__main__":
    main()
