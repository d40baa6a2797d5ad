"""The engines that Weir is compared with, taken from PyPI into a cache folder, once: setup.environment() is its Python.

    $WEIR_BENCH_CACHE, else ~/.cache/weir/bench
      venv/               Python with DuckDB, DataFusion and PyArrow
      flink-2.3.0/        the jars of `apache-flink-libraries`, unpacked
      work/               data, states, results
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

PACKAGES = ["duckdb==2.0.0", "datafusion==55.0.0", "pyarrow==26.0.1"]
FLINK = "2.3.0"


def cache():
    """The folder outside the repository that holds all of it."""
    given = os.environ.get("WEIR_BENCH_CACHE")
    folder = Path(given) if given else Path.home() / ".cache" / "weir" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


def _once(folder, what, make):
    """Makes a folder unless it is there whole: a run that was broken off is made again."""
    done = folder.with_name(folder.name + ".done")
    if not done.exists():
        print(f"setting up {what} in {folder} (once)", file=sys.stderr, flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        make()
        done.touch()
    return folder


def environment():
    """The interpreter of a virtual environment with the batch engines."""
    folder = cache() / "venv"

    def make():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run(pip + PACKAGES, check=True)

    return _once(folder, "DuckDB and DataFusion", make) / "bin" / "python"


def flink():
    """The folder of a Flink with lib/; None without a Java to run it."""
    if shutil.which("java") is None or shutil.which("javac") is None:
        print("no java and javac here (a JDK of version 17 is needed): Flink is left out", file=sys.stderr)
        return None
    folder = cache() / f"flink-{FLINK}"

    def make():
        pip = [str(environment().with_name("pip")), "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run(pip + ["--target", str(folder), f"apache-flink-libraries=={FLINK}"], check=True)

    return _once(folder, f"Flink {FLINK}", make) / "pyflink"
