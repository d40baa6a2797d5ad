-- Expressions: CASE, casts, functions on text and time, and what NULL does to them.
--
-- Every scalar function of DataFusion is there. A flight without a delay was cancelled: comparisons with NULL are neither true nor
-- false, so CASE asks for it first.
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
  upper(carrier) || lpad(CAST(flight AS STRING), 4, '0') AS flight,
  to_char(sched_at, '%d %b %H:%M') AS scheduled,
  CASE
    WHEN dep_delay IS NULL THEN 'cancelled'
    WHEN dep_delay <= 0 THEN 'on time'
    WHEN dep_delay < 60 THEN 'late'
    ELSE 'very late'
  END AS verdict,
  CAST(dep_delay AS DOUBLE) / 60 AS hours,
  coalesce(CAST(dep_delay AS STRING), '-') AS minutes,
  TRY_CAST(dest AS INT) IS NULL AS dest_is_no_number
FROM departures
WHERE carrier IN ('HA', 'YV') AND extract(DAY FROM sched_at) = 25 AND dest LIKE 'H%';
