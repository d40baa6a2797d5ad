-- New York's departures of 2013, as a stream.
--
--     weir run queries/flights.sql
--
-- A table in Weir is not something that lies there: it is rows that come. The file below holds all 336,776 flights that left the
-- three airports, in the order in which somebody on the tower would have seen them leave. Weir reads it as it would read a live feed:
-- once, from front to back, never waiting for "all" of it. This file asks three questions of that stream, and all three are answered
-- in one pass, by one job.

-- ---------------------------------------------------------------------------------------------------------------------
-- The streams
-- ---------------------------------------------------------------------------------------------------------------------

-- `sched_at` is *event time*: when the flight should have left. Rows come in the order in which flights *did* leave, so event time
-- jumps back and forth. The WATERMARK says how far back it may reasonably jump: once a departure scheduled for 12:00 has been seen,
-- we no longer wait for one that was scheduled before 10:00. A few thousand flights will come later than that all the same.
-- (A cancelled flight has no delay: `dep_delay` is NULL. It stands in the file at the minute when it should have left.)
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

-- One observation an hour and airport.
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

-- ---------------------------------------------------------------------------------------------------------------------
-- 1. Which hours were the worst?        (a window: final answers, given once)
-- ---------------------------------------------------------------------------------------------------------------------

-- TUMBLE cuts event time into hours that lie side by side and gives every row the hour that it belongs to. When may the 10 o'clock
-- hour be answered? When the watermark reaches 11:00: no sooner, because rows are missing; no later, because nobody should wait. The
-- answer is final. Whoever comes after it is *late*: the row is left out and counted, and the summary at the end shows how many there
-- were. So this average speaks of the flights that left within about two hours: a promptness that we chose, in the WATERMARK above.
CREATE VIEW hourly_delays AS
SELECT
  window_start AS hour_at,
  origin,
  count(*) AS flights,
  count(*) - count(dep_delay) AS cancelled,
  avg(dep_delay) AS avg_delay,
  max(dep_delay) AS max_delay
FROM TUMBLE(departures, sched_at, INTERVAL '1' HOUR)
GROUP BY window_start, window_end, origin;

SELECT hour_at, origin, flights, cancelled, round(avg_delay, 1) AS avg_delay, max_delay
FROM hourly_delays
WHERE flights - cancelled >= 10 AND avg_delay >= 120;

-- ---------------------------------------------------------------------------------------------------------------------
-- 2. Which routes are the busiest?      (no window: an answer that is always current, and so changes)
-- ---------------------------------------------------------------------------------------------------------------------

-- Without a window there is no moment when a count is finished. The result is a table that is kept up to date: each epoch (some
-- milliseconds of input) takes back the old row of every route that was touched and gives the new one. See the changes themselves with
--     weir run queries/flights.sql --changelog
-- No row is late here: a flight that left a day behind its schedule still counts.
CREATE VIEW routes AS
SELECT
  origin,
  dest,
  count(*) AS flights,
  count(*) - count(dep_delay) AS cancelled,
  avg(dep_delay) AS avg_delay
FROM departures
GROUP BY origin, dest;

-- HAVING, or a WHERE outside, works on a result that changes: a route enters this list at its 5,001st flight.
SELECT origin, dest, flights, cancelled, round(avg_delay, 1) AS avg_delay
FROM routes
WHERE flights > 5000;

-- ---------------------------------------------------------------------------------------------------------------------
-- 3. What does the weather do?          (a join of two streams, and an aggregate over it)
-- ---------------------------------------------------------------------------------------------------------------------

-- A join of two streams remembers both sides: whichever row comes first waits for its partner. So it does not matter that the two
-- files are read side by side at different speeds, nor which of them is ahead.
CREATE VIEW flights_in_weather AS
SELECT
  d.origin,
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

SELECT
  sky,
  count(*) AS flights,
  round(100.0 * (count(*) - count(dep_delay)) / count(*), 1) AS cancelled_percent,
  round(avg(dep_delay), 1) AS avg_delay
FROM flights_in_weather
GROUP BY sky;
