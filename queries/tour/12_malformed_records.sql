-- A record that cannot be read stops the job, unless you say otherwise: skip it and count it, or keep it somewhere (a dead letter).
--
-- The file beside this one holds five good lines and three bad ones: a torn one, a word where a number belongs, an unknown date.
CREATE TABLE readings (
  at    TIMESTAMP(3),
  meter STRING,
  kwh   DOUBLE
) WITH (
  'connector' = 'filesystem',
  'path' = 'queries/tour/readings.jsonl',
  'format' = 'json',
  'on.error' = 'skip'
);

SELECT meter, count(*) AS readings, sum(kwh) AS kwh
FROM readings
GROUP BY meter;
