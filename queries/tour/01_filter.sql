-- A filter and a projection: the smallest continuous query.
--
-- Nothing is remembered between rows, so each row is answered the moment it is read.
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

SELECT sched_at, carrier || ' ' || CAST(flight AS STRING) AS flight, origin, dest, dep_delay
FROM departures
WHERE dep_delay > 900;
