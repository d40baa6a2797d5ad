"""One query in one batch engine: batch.py ENGINE QUERY FOLDER RESULT THREADS. Prints its seconds, or writes its rows as JSON."""

import glob
import json
import sys
import time

import engines
import tables


def duckdb_rows(text, path, threads):
    """Runs the query into a table of DuckDB's own; a function that reads it."""
    import duckdb

    connection = duckdb.connect()
    connection.execute(f"SET threads = {threads}")
    connection.execute("SET TimeZone = 'UTC'")
    for statement in tables.duckdb(f"{path}/*.json"):
        connection.execute(statement)
    connection.execute(f"CREATE TEMP TABLE result AS {text}")
    return lambda: connection.execute("FROM result").fetchall()


def datafusion_rows(text, path, threads):
    """Runs the query and keeps its batches."""
    import datafusion

    config = datafusion.SessionConfig().with_target_partitions(threads)
    context = datafusion.SessionContext(config)
    tables.datafusion(context, path)
    batches = context.sql(text).collect()
    return lambda: [tuple(row.values()) for batch in batches for row in batch.to_pylist()]


def main():
    engine, query, path, result, threads = sys.argv[1:]
    text = engines.text_of(engine, query).strip().rstrip(";")
    began = time.monotonic()
    rows = {"duckdb": duckdb_rows, "datafusion": datafusion_rows}[engine](text, path, int(threads))
    seconds = time.monotonic() - began
    if result == "-":
        print("seconds", seconds)
    else:
        with open(result, "w", encoding="utf-8") as file:
            json.dump([[engines.normal(value) for value in row] for row in rows()], file)


if __name__ == "__main__":
    main()
