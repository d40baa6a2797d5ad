"""Instructions that a row costs, by callgrind, against the committed figures: `make bench-instructions`.

    a job over N rows ┐
    a job over 3N rows┘ ─▶ (instructions of the second − of the first) ÷ 2N      start, planning and the last checkpoint cancel

Instructions hardly depend on the neighbours' load, as seconds do. (Who waits looks again every few milliseconds: on a machine so
busy that a run takes minutes, that is more than the rows. Then no figure is to be taken.) They vary by a few in a hundred with where epochs end, so a
case fails when it is further from its figure than that. `--accept` writes what was measured (benches/instructions.json); the
commit that does so says why.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

FIGURES = Path(__file__).resolve().with_name("instructions.json")
#: How far from its figure a case may be.
TOLERANCE = 0.05
BID = "auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, date_time TIMESTAMP(3), extra STRING"
GENERATED = f"CREATE TABLE bid ({BID}) WITH ('connector' = 'nexmark', 'events' = '{{events}}', 'table' = 'bid');\n"
SINK = "CREATE TABLE result WITH ('connector' = 'blackhole') AS "


class Case:
    """A job, of which the rows differ: what it is about beside the generator, at which parallelism, from how many rows on."""

    def __init__(self, select, parallelism=1, rows=5_000, source=GENERATED):
        self.select, self.parallelism, self.rows, self.source = select, parallelism, rows, source


CASES = {
    # The generator alone: what the other cases have in common.
    "generate": Case("SELECT auction, bidder, price FROM bid"),
    "decode": Case("SELECT auction, bidder, price, url, date_time FROM bid", source="json"),
    "decode one of seven": Case("SELECT price FROM bid", source="json"),
    "hash aggregate": Case("SELECT auction, count(*) AS n, sum(price) AS total FROM bid GROUP BY auction"),
    "exchange": Case("SELECT auction, count(*) AS n, sum(price) AS total FROM bid GROUP BY auction", parallelism=2),
    "distinct": Case("SELECT channel, count(DISTINCT bidder) AS n FROM bid GROUP BY channel"),
    "join probe": Case("SELECT b.price, c.price AS other FROM bid AS b JOIN bid AS c ON b.auction = c.auction AND b.bidder = c.bidder AND b.url = c.url"),
    "ranking": Case("SELECT * FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY auction ORDER BY price DESC) AS place FROM bid) AS r WHERE place <= 3"),
    # Every row is a key of its own, and all are written at the last checkpoint: the encoding of state.
    "state written": Case("SELECT auction, bidder, url, extra, count(*) AS n FROM bid GROUP BY auction, bidder, url, extra"),
}


def job(folder, weir, case, rows):
    """The job's file, in a folder of its own."""
    if case.source == "json":
        data = folder / f"bids-{rows}"
        if not data.exists():
            write = GENERATED.format(events=rows) + f"CREATE TABLE out ({BID}) WITH ('connector' = 'filesystem', 'path' = '{data}', 'format' = 'json');\nINSERT INTO out SELECT * FROM bid;\n"
            (folder / "write.sql").write_text(write)
            subprocess.run([weir, "run", "write.sql", "--fresh", "--no-progress", "--parallelism", "1"], cwd=folder, check=True, capture_output=True)
        source = f"CREATE TABLE bid ({BID}) WITH ('connector' = 'filesystem', 'path' = '{data}/part-*', 'format' = 'json');\n"
    else:
        source = case.source.format(events=rows)
    work = folder / "job"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    settings = "SET 'checkpoint.interval' = '1h';\nSET 'epoch.interval' = '1s';\n"
    (work / "job.sql").write_text(f"{settings}{source}{SINK}{case.select};\n")
    return work


def instructions(weir, work, parallelism):
    """How many instructions a run of the job takes."""
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", weir, "run", "job.sql", "--no-progress", "--parallelism", str(parallelism)]
    ran = subprocess.run(command, cwd=work, capture_output=True, text=True)
    collected = re.search(r"Collected : (\d+)", ran.stderr)
    if ran.returncode != 0 or collected is None:
        sys.exit(f"{' '.join(command)} in {work}:\n{ran.stdout[-2000:]}\n{ran.stderr[-2000:]}")
    return int(collected[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weir", required=True, help="the release binary")
    parser.add_argument("--accept", action="store_true", help="write what is measured as the new figures")
    parser.add_argument("--cases", default=",".join(CASES))
    given = parser.parse_args()
    if shutil.which("valgrind") is None:
        sys.exit("no valgrind here: apt-get install valgrind")
    weir = str(Path(given.weir).resolve())
    known = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    further = []
    print(f"{'case':22}{'a row':>10}{'committed':>12}{'change':>9}")
    for name in given.cases.split(","):
        case = CASES[name]
        with tempfile.TemporaryDirectory() as folder:
            few, many = (instructions(weir, job(Path(folder), weir, case, rows), case.parallelism) for rows in (case.rows, 3 * case.rows))
        a_row, before = round((many - few) / (2 * case.rows)), known.get(name)
        change = a_row / before - 1 if before else None
        print(f"{name:22}{a_row:>10,}{before or '-':>12}{f'{change:+.1%}' if before else '-':>9}", flush=True)
        if change is not None and abs(change) > TOLERANCE:
            further.append(name)
        known[name] = a_row if given.accept or before is None else before
    if given.accept:
        FIGURES.write_text(json.dumps(known, indent=1) + "\n")
    elif further:
        sys.exit(f"further than {TOLERANCE:.0%} from the committed figures: {', '.join(further)}; --accept takes them, and the commit says why")


if __name__ == "__main__":
    main()
