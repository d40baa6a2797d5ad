-- A join of three streams, two of them small and soon over: numbers become names.
--
-- An inner join keeps the rows of both sides, because a partner may come at any time. Here the aggregate is made first and the names
-- are joined to its few hundred rows, not to every flight: a join takes changing rows as well as final ones.
CREATE TABLE departures (
  sched_at  TIMESTAMP(3),
  dep_delay INT,
  carrier   STRING,
  flight    INT,
  origin    STRING,
  dest      STRING,
  WATERMARK FOR sched_at AS sched_at - INTERVAL '2' HOUR
) WITH (
  'connector' = 'filesystem',
  'path' = 'queries/data/departures.csv.zst',
  'format' = 'csv'
);

CREATE TABLE airlines (
  carrier STRING,
  name    STRING
) WITH (
  'connector' = 'filesystem',
  'path' = 'queries/data/airlines.csv',
  'format' = 'csv'
);

CREATE TABLE airports (
  faa  STRING,
  name STRING,
  lat  DOUBLE,
  lon  DOUBLE
) WITH (
  'connector' = 'filesystem',
  'path' = 'queries/data/airports.csv',
  'format' = 'csv'
);

CREATE VIEW legs AS
SELECT carrier, dest, count(*) AS flights
FROM departures
GROUP BY carrier, dest;

SELECT l.name AS airline, a.name AS airport, g.flights
FROM legs AS g
JOIN airlines AS l ON g.carrier = l.carrier
JOIN airports AS a ON g.dest = a.faa
WHERE g.flights > 5000;
