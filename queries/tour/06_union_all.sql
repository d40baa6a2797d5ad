-- UNION ALL: several streams read as one. Each branch keeps its own pace; the watermark is that of the slower one.
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

CREATE VIEW worth_a_note AS
SELECT sched_at, carrier, flight, origin, 'left ' || CAST(dep_delay / 60 AS STRING) || ' hours behind' AS note
FROM departures
WHERE dep_delay >= 960
UNION ALL
SELECT sched_at, carrier, flight, origin, 'left ' || CAST(-dep_delay AS STRING) || ' minutes ahead' AS note
FROM departures
WHERE dep_delay <= -28;

SELECT * FROM worth_a_note;
