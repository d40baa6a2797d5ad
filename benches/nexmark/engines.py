"""The engines, each as `run(query) -> Run` over the same file, and `answer(query) -> rows`, a multiset in one normal form."""

import collections
import dataclasses
import datetime
import json
import os
import platform
import re
import shutil
import subprocess
import time
from pathlib import Path

import tables

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
QUERIES = ROOT / "queries" / "nexmark"
#: What Flink needs of the JVM's own modules.
OPENED = "java.lang java.lang.invoke java.lang.reflect java.io java.net java.nio java.text java.time java.util java.util.concurrent java.util.concurrent.atomic java.util.concurrent.locks sun.nio.ch"


@dataclasses.dataclass
class Run:
    """What one run took: seconds of the job, CPU seconds and peak memory (bytes) of the process."""

    seconds: float
    cpu: float
    memory: int


class Refused(Exception):
    """The engine does not take the query, or failed at it; the text is the last line of what it said."""


def _measured(command, **options):
    """Runs a process to its end. Its output, its wall seconds, CPU seconds and peak bytes."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        lines = [line for line in output.splitlines() if line.strip()]
        causes = [line for line in lines if line.startswith(("Caused by", "error"))]
        raise Refused((causes or lines or ["no output"])[-1][:300])
    return output, Run(time.monotonic() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def _time(value):
    """Milliseconds since 1970."""
    return int(value.replace(tzinfo=datetime.timezone.utc).timestamp() * 1000 + 0.5)


def normal(value):
    """One form for equal values: times are milliseconds, floats have nine digits, lists are tuples."""
    if value is None or value == "null":
        return None
    if isinstance(value, bool) or isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else float(f"{value:.9g}")
    if isinstance(value, datetime.datetime):
        return _time(value)
    if isinstance(value, datetime.date):
        return value.isoformat()
    text = str(value)
    if re.fullmatch(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?", text):
        return _time(datetime.datetime.fromisoformat(text))
    try:
        number = float(text)
        return normal(number) if not text.isdigit() else int(text)
    except ValueError:
        return text


def machine():
    """What was measured on."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text()) if Path("/proc/cpuinfo").exists() else None
    return {"machine": platform.machine(), "cpu": model[1] if model else platform.processor(), "cpus": os.cpu_count()}


def fold(changes):
    """The rows that stand in the end: (given?, row) one after another."""
    rows = collections.Counter()
    for count, row in changes:
        rows[tuple(normal(value) for value in row)] += count
    return {row: count for row, count in rows.items() if count}


class Weir:
    """The release binary, in a process of its own, with checkpoints into RocksDB every ten seconds."""

    name = "weir"

    def __init__(self, binary, work, parallelism=2):
        self.binary, self.work, self.parallelism = binary, Path(work), parallelism

    def statements(self, query, header, sink):
        """The file to run: tables, then the query's own functions and tables, then its SELECT into `sink`."""
        *before, select = own_text(query)
        before = "".join(f"{part};\n" for part in before)
        if query == "q12":
            header = header.replace("CREATE VIEW bid AS SELECT ", "CREATE VIEW bid AS SELECT PROCTIME() AS seen_at, ")
        if select.upper().startswith("INSERT"):
            # q10 writes into a partitioned table of its own.
            return f"SET 'checkpoint.interval' = '10s';\n{header}{before}{select};\n"
        return f"SET 'checkpoint.interval' = '10s';\n{header}{before}CREATE TABLE result WITH ({sink}) AS {select};\n"

    def start(self, statements, *flags):
        """Runs a file; its output and what it took."""
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)
        (self.work / "bench.sql").write_text(statements)
        shutil.copy(QUERIES / "side_input.csv", self.work)
        command = [self.binary, "run", "bench.sql", "--no-progress", "--parallelism", str(self.parallelism), *flags]
        return _measured(command, cwd=self.work)

    def generate(self, events, path):
        """Writes the events into the folder `path`, one file."""
        one = Weir(self.binary, self.work, 1)
        one.start(tables.generate(events, path))
        for extra in ("_commits", "_staging"):
            shutil.rmtree(Path(path) / extra, ignore_errors=True)

    def run(self, query, path):
        return self.start(self.statements(query, tables.weir(path), "'connector' = 'blackhole'"))[1]

    def run_generated(self, query, events):
        """Over the generator in the process itself, instead of a file."""
        return self.start(self.statements(query, tables.weir_generated(events), "'connector' = 'blackhole'"))[1]

    def answer(self, query, path):
        sink = "'connector' = 'filesystem', 'path' = 'result', 'format' = 'changelog-json'"
        self.start(self.statements(query, tables.weir(path), sink))
        return fold(self._changes())

    def _changes(self):
        for part in sorted((self.work / "result").glob("part-*")):
            for line in part.read_text().splitlines():
                change = json.loads(line)
                yield (1 if change.pop("op") in ("+I", "+U") else -1), change.values()


#: Queries of which Flink collects updates without retractions, and how many of the first columns are their key.
FLINK_KEYS = {"q9": 1}


class Flink:
    """Flink in one JVM, started directly; RocksDB, incremental checkpoints every ten seconds."""

    name = "flink"

    def __init__(self, home, work, parallelism=2, heap="6g"):
        self.home, self.work, self.heap = Path(home), Path(work), heap
        self.work.mkdir(parents=True, exist_ok=True)
        self.classes = f"{self.home}/lib/*:{self.work}"
        self.settings = {
            "parallelism.default": parallelism,
            "taskmanager.numberOfTaskSlots": parallelism,
            "execution.checkpointing.interval": "10s",
            "execution.checkpointing.incremental": "true",
            "execution.checkpointing.dir": f"file://{self.work}/checkpoints",
            "state.backend.type": "rocksdb",
            "taskmanager.memory.managed.size": "2gb",
            "taskmanager.memory.network.min": "256mb",
            "taskmanager.memory.network.max": "256mb",
            "table.local-time-zone": "UTC",
        }
        source = HERE.parent / "flink" / "RunSql.java"
        subprocess.run(["javac", "-nowarn", "-cp", self.classes, "-d", str(self.work), str(source)], check=True)

    def _start(self, query, path, result):
        shutil.rmtree(self.work / "checkpoints", ignore_errors=True)
        declared, select = self.work / "tables.sql", self.work / "query.sql"
        declared.write_text(tables.flink(path))
        select.write_text(text_of("flink", query))
        logging = self.work / "log4j.properties"
        logging.write_text("rootLogger.level = OFF\n")
        opened = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in OPENED.split()]
        command = ["java", *opened, f"-Xmx{self.heap}", f"-Dkey={FLINK_KEYS.get(query, 0)}", f"-Dlog4j.configurationFile=file:{logging}", "-cp", self.classes]
        command += ["RunSql", str(declared), str(select), str(result)]
        return _measured(command + [f"{key}={value}" for key, value in self.settings.items()], cwd=self.work)

    def run(self, query, path):
        output, run = self._start(query, path, "-")
        run.seconds = int(re.search(r"runtime_ms (\d+)", output)[1]) / 1000
        return run

    def answer(self, query, path):
        result = self.work / "result"
        self._start(query, path, result)
        lines = (line.split("\x1f") for line in result.read_text().splitlines())
        return fold((int(count), row) for count, *row in lines)


class Batch:
    """A batch engine from PyPI, in a Python process of its own, on as many threads."""

    def __init__(self, name, python, work, parallelism=2):
        self.name, self.python, self.work, self.parallelism = name, str(python), Path(work), parallelism

    def _start(self, query, path, result):
        command = [self.python, str(HERE / "batch.py"), self.name, query, str(path), str(result), str(self.parallelism)]
        return _measured(command)

    def run(self, query, path):
        output, run = self._start(query, path, "-")
        run.seconds = float(re.search(r"seconds (\S+)", output)[1])
        return run

    def answer(self, query, path):
        result = self.work / f"{self.name}.json"
        result.parent.mkdir(parents=True, exist_ok=True)
        self._start(query, path, result)
        return fold((1, row) for row in json.loads(result.read_text()))


def own_text(query):
    """The statements of a query in Weir's own words, without those that make the generator's tables."""
    text = re.sub(r"--.*", "", (QUERIES / f"{query}.sql").read_text())
    parts = [part.strip() for part in text.split(";") if part.strip()]
    return [part for part in parts if "'nexmark'" not in part]


def text_of(engine, query):
    """A query's SELECT in the words of an engine: Flink's are Weir's unless there is a file of its own."""
    if engine == "flink":
        own = HERE / engine / f"{query}.sql"
        return own.read_text() if own.exists() else own_text(query)[-1]
    return (QUERIES / "batch" / f"{query}.sql").read_text()
