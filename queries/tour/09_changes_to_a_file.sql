-- Changes as a file. Each line carries `op`: +I a new row, -U and +U an update's old and new row, -D a row that is gone.
--
-- Whoever replays the lines from the top has the current result at every point where a checkpoint was; another query can do so
-- itself, because `changelog-json` is a source as well.
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

CREATE TABLE carriers (
  carrier STRING,
  flights BIGINT,
  worst   INT
) WITH (
  'connector' = 'filesystem',
  'path' = 'output/tour/carriers',
  'format' = 'changelog-json'
);

INSERT INTO carriers
SELECT carrier, count(*), max(dep_delay)
FROM departures
GROUP BY carrier;
