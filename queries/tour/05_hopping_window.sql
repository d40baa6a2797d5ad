-- HOP: windows that overlap. Each flight counts in the six windows of six hours that hold it, and a new answer comes every hour.
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

SELECT window_start, window_end, origin, count(*) AS flights, avg(dep_delay) AS avg_delay
FROM HOP(departures, sched_at, INTERVAL '1' HOUR, INTERVAL '6' HOUR)
GROUP BY window_start, window_end, origin
HAVING avg(dep_delay) > 120 AND count(dep_delay) > 50;
