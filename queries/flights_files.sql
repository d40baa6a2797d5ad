-- The three questions of flights.sql, answered into files instead of onto the screen.
--
--     weir run queries/flights_files.sql
--
-- What a file holds is *exactly once*: Weir stages rows, takes a checkpoint, and only then renames them into place. Kill this job at
-- any moment (really: `kill -9`) and run the same command again: it goes on where its last checkpoint was, and the files end up as if
-- nothing had happened. Three kinds of file show what can be done with three kinds of answer.

SET 'checkpoint.interval' = '1s';

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

CREATE TABLE weather (
  hour_at    TIMESTAMP(3),
  origin     STRING,
  temp       DOUBLE,
  wind_speed DOUBLE,
  precip     DOUBLE,
  visib      DOUBLE
) WITH (
  'connector' = 'filesystem',
  'path' = 'queries/data/weather.csv.gz',
  'format' = 'csv'
);

-- 1. A window's answers are final, so they are appended: each checkpoint adds files, and none is ever touched again.
CREATE TABLE hourly_delays (
  hour_at   TIMESTAMP(3),
  origin    STRING,
  flights   BIGINT,
  cancelled BIGINT,
  avg_delay DOUBLE,
  max_delay INT
) WITH (
  'connector' = 'filesystem',
  'path' = 'output/flights/hourly_delays',
  'format' = 'csv'
);

INSERT INTO hourly_delays
SELECT
  window_start,
  origin,
  count(*),
  count(*) - count(dep_delay),
  avg(dep_delay),
  max(dep_delay)
FROM TUMBLE(departures, sched_at, INTERVAL '1' HOUR)
GROUP BY window_start, window_end, origin;

-- 2. An answer that changes can be written as its changes: every line says in `op` whether the row comes (+I, +U) or goes (-U, -D).
CREATE TABLE routes (
  origin    STRING,
  dest      STRING,
  flights   BIGINT,
  cancelled BIGINT,
  avg_delay DOUBLE
) WITH (
  'connector' = 'filesystem',
  'path' = 'output/flights/routes',
  'format' = 'changelog-json'
);

INSERT INTO routes
SELECT origin, dest, count(*), count(*) - count(dep_delay), avg(dep_delay)
FROM departures
GROUP BY origin, dest;

-- 3. Or as what it is now: one file, replaced as a whole at each checkpoint.
CREATE TABLE weather_delays (
  sky       STRING,
  flights   BIGINT,
  cancelled BIGINT,
  avg_delay DOUBLE
) WITH (
  'connector' = 'filesystem',
  'path' = 'output/flights/weather_delays.json',
  'format' = 'json',
  'mode' = 'snapshot'
);

CREATE VIEW flights_in_weather AS
SELECT
  d.dep_delay,
  CASE
    WHEN w.visib < 1 THEN 'fog'
    WHEN w.precip >= 0.1 THEN 'heavy rain or snow'
    WHEN w.visib < 5 THEN 'mist'
    WHEN w.wind_speed >= 25 THEN 'strong wind'
    ELSE 'fair'
  END AS sky
FROM departures AS d
JOIN weather AS w ON d.origin = w.origin AND date_trunc('hour', d.sched_at) = w.hour_at;

INSERT INTO weather_delays
SELECT sky, count(*), count(*) - count(dep_delay), avg(dep_delay)
FROM flights_in_weather
GROUP BY sky;
