-- Files sorted into folders: output/tour/by_origin/origin=JFK/part-….csv. Rows appear when a checkpoint has made sure of them.
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

CREATE TABLE by_origin (
  origin   STRING,
  sched_at TIMESTAMP(3),
  flight   INT,
  dest     STRING
) PARTITIONED BY (origin) WITH (
  'connector' = 'filesystem',
  'path' = 'output/tour/by_origin',
  'format' = 'csv'
);

INSERT INTO by_origin
SELECT origin, sched_at, flight, dest
FROM departures
WHERE dep_delay > 300;
