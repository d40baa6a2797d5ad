-- An aggregate of an aggregate, always current: how many routes are flown once, a few times, daily, more?
--
-- When a route gets another flight, the inner query takes its old count back and gives the new one; the outer query subtracts and
-- adds. Each epoch shows one change for each group, however many flights it held, and never something half done.
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

CREATE VIEW routes AS
SELECT origin, dest, count(*) AS flights
FROM departures
GROUP BY origin, dest;

SELECT
  CASE
    WHEN flights < 10 THEN '1: rarely'
    WHEN flights < 365 THEN '2: not every day'
    WHEN flights < 3650 THEN '3: daily'
    ELSE '4: ten times a day'
  END AS flown,
  count(*) AS routes,
  sum(flights) AS flights
FROM routes
GROUP BY
  CASE
    WHEN flights < 10 THEN '1: rarely'
    WHEN flights < 365 THEN '2: not every day'
    WHEN flights < 3650 THEN '3: daily'
    ELSE '4: ten times a day'
  END;
