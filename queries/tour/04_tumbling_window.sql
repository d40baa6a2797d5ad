-- TUMBLE: windows side by side. A day's answer is given once, when the watermark has passed midnight.
--
-- The long spelling below is Flink's; `FROM TUMBLE(departures, sched_at, INTERVAL '1' DAY)` says the same.
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

SELECT
  window_start AS day,
  count(*) AS flights,
  count(*) FILTER (WHERE dep_delay IS NULL) AS cancelled,
  max(dep_delay) AS worst
FROM TABLE(TUMBLE(TABLE departures, DESCRIPTOR(sched_at), INTERVAL '1' DAY))
GROUP BY window_start, window_end
HAVING count(*) FILTER (WHERE dep_delay IS NULL) > 100;
