-- Common table expressions and subqueries give names to the steps of a query.
--
-- Names are more than decoration: what a step remembers is stored under its name (`weir explain` shows them), so that a running query
-- can be edited later without losing the steps that stayed the same.
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

WITH
  by_number AS (
    SELECT carrier, flight, count(*) AS flights, avg(dep_delay) AS avg_delay
    FROM departures
    GROUP BY carrier, flight
  ),
  regular AS (
    SELECT carrier, flight, flights, avg_delay
    FROM by_number
    WHERE flights >= 300
  )
SELECT r.carrier, r.flight, r.flights, round(r.avg_delay, 1) AS avg_delay
FROM (SELECT * FROM regular WHERE avg_delay > 20) AS r;
