"""How cost and rate change with size: `make bench-scale`.

    events    1 million │ 10 million │ 50 million   queries whose state is bounded: CPU per event stays what it is
    state     all of it in memory │ ten times the budget   a keyed aggregate: the rate beside that in memory,
                                                          with keys that are all as likely, and with keys by Zipf's law

All events are made in the process itself; what making them costs is in every figure. `state.memory` of the second part is a
tenth of what the first run said that its state took at most.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "nexmark"))
import engines  # noqa: E402
import tables  # noqa: E402

#: Where keys come from, of a random number from 0 to 1. By the second the kth key is drawn in proportion to 1/k.
KEYS = {
    "uniform": "CAST(u * {keys} AS BIGINT)",
    "zipf": "CAST(power(CAST({keys} AS DOUBLE), u) AS BIGINT)",
}
#: Memory of the run that has all its state in memory.
PLENTY = "8 GiB"


def run(weir, work, statements, *flags):
    """The job's own summary, its wall seconds and CPU seconds."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    (work / "scale.sql").write_text(statements)
    command = [weir, "run", "scale.sql", "--json", "--no-progress", "--parallelism", "2", *flags]
    began = time.monotonic()
    process = subprocess.Popen(command, cwd=work, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit(f"{' '.join(command)}:\n{said[-2000:]}")
    return json.loads(said.strip().splitlines()[-1]), time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def flat(weir, work, sizes, queries):
    """CPU per event of some queries over more and more events."""
    print(f"\n{'query':8}" + "".join(f"{f'{size:,} events':>28}" for size in sizes) + f"{'last ÷ first':>15}")
    figures = []
    for query in queries:
        costs, line = [], f"{query:8}"
        for size in sizes:
            statements = engines.Weir(weir, work).statements(query, tables.weir_generated(size), "'connector' = 'blackhole'")
            _, seconds, cpu, memory = run(weir, work, statements)
            costs.append(cpu / size * 1e6)
            line += f"{f'{costs[-1]:.2f} µs, {size / seconds / 1e3:,.0f} k/s, {memory >> 20} MiB':>28}"
            figures.append({"query": query, "events": size, "cpu": cpu, "seconds": seconds, "memory": memory})
        print(f"{line}{costs[-1] / costs[0]:>15.2f}", flush=True)
    return figures


def beyond_memory(weir, work, rows, keys):
    """The rate of an aggregate with ten times the state that its budget holds, beside that with all of it in memory."""
    print(f"\n{'keys':8}{'budget MiB':>12}{'rows/s':>12}{'CPU s':>8}{'spilled':>12}{'reloaded':>12}{'÷ in memory':>13}")
    figures = []
    for name, key in KEYS.items():
        statements = (
            "SET 'checkpoint.interval' = '10s';\n"
            "CREATE TABLE made (v BIGINT, u DOUBLE, pad STRING) WITH ('connector' = 'datagen', "
            f"'rows' = '{rows}', 'fields.u.min' = '0', 'fields.u.max' = '1', 'fields.pad.length' = '64');\n"
            f"CREATE VIEW keyed AS SELECT {key.format(keys=keys)} AS k, v, pad FROM made;\n"
            "CREATE TABLE result WITH ('connector' = 'blackhole') AS\n"
            "SELECT k, count(*) AS n, sum(v) AS total, max(pad) AS pad FROM keyed GROUP BY k;\n"
        )
        rates = []
        budget = PLENTY
        for _ in range(2):
            summary, seconds, cpu, _ = run(weir, work, statements, "--state-memory", budget)
            state = summary["state"]
            rates.append(rows / seconds)
            print(
                f"{name:8}{state['bytes_budget'] / 2**20:>12.0f}{rates[-1]:>12,.0f}{cpu:>8.1f}{state['entries_spilled']:>12,}{state['entries_reloaded']:>12,}{rates[-1] / rates[0]:>13.2f}",
                flush=True,
            )
            figures.append({"keys": name, "rows": rows, "different": keys, "seconds": seconds, "cpu": cpu, "state": state})
            budget = f"{max(1, state['bytes_peak'] // 10 >> 20)} MiB"
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weir", required=True, help="the release binary")
    parser.add_argument("--sizes", default="1000000,10000000,50000000", help="events of the first part; empty: not that part")
    parser.add_argument("--queries", default="q0,q5,q7,q8")
    parser.add_argument("--rows", type=int, default=3_000_000, help="of the second part; 0: not that part")
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path, help="where the figures go, as JSON")
    given = parser.parse_args()
    weir = str(Path(given.weir).resolve())
    figures = {}
    with tempfile.TemporaryDirectory(dir=os.environ.get("WEIR_BENCH_CACHE")) as folder:
        work = Path(folder) / "work"
        if given.sizes:
            figures["events"] = flat(weir, work, [int(size) for size in given.sizes.split(",")], given.queries.split(","))
        if given.rows:
            figures["state"] = beyond_memory(weir, work, given.rows, given.keys)
    if given.out:
        given.out.write_text(json.dumps({**engines.machine(), **figures}, indent=1))


if __name__ == "__main__":
    main()
