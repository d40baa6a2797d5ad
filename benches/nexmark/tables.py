"""The events of Nexmark as one file of JSON lines, and the tables over it in the words of each engine."""

FIELDS = {
    "person": "id BIGINT, name STRING, email_address STRING, credit_card STRING, city STRING, state STRING, date_time TIMESTAMP(3), extra STRING",
    "auction": "id BIGINT, item_name STRING, description STRING, initial_bid BIGINT, reserve BIGINT, date_time TIMESTAMP(3), "
    "expires TIMESTAMP(3), seller BIGINT, category BIGINT, extra STRING",
    "bid": "auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, date_time TIMESTAMP(3), extra STRING",
}
KINDS = list(FIELDS)
COLUMNS = (
    "event_type INT, "
    + ", ".join(f"{kind} ROW<{fields}>" for kind, fields in FIELDS.items())
    + ", date_time TIMESTAMP(3)"
)
WATERMARK = "WATERMARK FOR date_time AS date_time - INTERVAL '4' SECOND"


def names(kind):
    """The names of one kind's fields."""
    return [field.split()[0] for field in FIELDS[kind].split(", ")]


def _view(kind, extra=""):
    """One kind's events. The event's own time stands for the field's (they are equal), so that it stays event time."""
    taken = ", ".join(
        "date_time" if name == "date_time" else f"event.{kind}.{name} AS {name}" for name in names(kind)
    )
    return f"CREATE VIEW {kind}{'_seen' if extra else ''} AS SELECT {taken}{extra} FROM event WHERE event_type = {KINDS.index(kind)};\n"


def generate(events, path):
    """A Weir job that writes the file."""
    return (
        f"CREATE TABLE event ({COLUMNS}) WITH ('connector' = 'nexmark', 'events' = '{events}');\n"
        f"CREATE TABLE written ({COLUMNS}) WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = 'json');\n"
        "INSERT INTO written SELECT event_type, person, auction, bid, date_time FROM event;\n"
    )


def weir(path):
    """Weir's tables over the file."""
    source = f"WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = 'json')"
    views = "".join(_view(kind) for kind in KINDS)
    return f"CREATE TABLE event ({COLUMNS}, {WATERMARK}) {source};\n{views}"


def weir_generated(events, prepared=False):
    """Weir's tables over the generator in the process itself; `prepared`: with events that are made before the first is read."""
    option = f"'connector' = 'nexmark', 'events' = '{events}'" + (", 'prepared' = 'true'" if prepared else "")
    return "".join(
        f"CREATE TABLE {kind} ({fields}, {WATERMARK}) WITH ({option}, 'table' = '{kind}');\n"
        for kind, fields in FIELDS.items()
    )


def flink(path):
    """Flink's tables over the file."""
    source = f"WITH ('connector' = 'filesystem', 'path' = 'file://{path}', 'format' = 'json')"
    views = "".join(_view(kind) for kind in KINDS).replace("event.", "")
    seen = _view("bid", ", PROCTIME() AS seen_at").replace("event.", "")
    return f"CREATE TABLE event ({COLUMNS}, {WATERMARK}) {source};\n{views}{seen}"


#: The functions of the batch queries that DuckDB calls otherwise.
DUCKDB_MACROS = [
    "CREATE MACRO date_bin(width, moment, origin) AS time_bucket(width, moment, origin)",
    "CREATE MACRO regexp_match(text, pattern) AS CASE WHEN regexp_matches(text, pattern) "
    "THEN [regexp_extract(text, pattern, 1), regexp_extract(text, pattern, 2)] END",
]


def duckdb(path):
    """DuckDB's views over the file."""
    kinds = {"BIGINT": "BIGINT", "STRING": "VARCHAR", "TIMESTAMP(3)": "TIMESTAMP"}
    struct = lambda fields: "STRUCT(" + ", ".join(
        f"{name} {kinds[kind]}" for name, kind in (field.split() for field in fields.split(", "))
    ) + ")"
    columns = ", ".join(f"{kind}: '{struct(fields)}'" for kind, fields in FIELDS.items())
    read = f"read_json('{path}', format = 'newline_delimited', columns = {{event_type: 'INTEGER', {columns}, date_time: 'TIMESTAMP'}})"
    return DUCKDB_MACROS + [f"CREATE VIEW event AS SELECT * FROM {read}"] + [
        f"CREATE VIEW {kind} AS SELECT " + ", ".join(f"{kind}.{name} AS {name}" for name in names(kind))
        + f" FROM event WHERE event_type = {KINDS.index(kind)}"
        for kind in KINDS
    ]


def datafusion(context, path):
    """Registers the file and its views in a DataFusion session."""
    import pyarrow as pa

    kinds = {"BIGINT": pa.int64(), "STRING": pa.string(), "TIMESTAMP(3)": pa.timestamp("ms")}
    struct = lambda fields: pa.struct([(n, kinds[k]) for n, k in (field.split() for field in fields.split(", "))])
    schema = [("event_type", pa.int32())] + [(k, struct(f)) for k, f in FIELDS.items()] + [("date_time", pa.timestamp("ms"))]
    context.register_json("event", path, schema=pa.schema(schema), file_extension=".json")
    for kind in KINDS:
        taken = ", ".join(f"event.{kind}['{name}'] AS {name}" for name in names(kind))
        context.sql(f"CREATE VIEW {kind} AS SELECT {taken} FROM event WHERE event_type = {KINDS.index(kind)}").collect()
