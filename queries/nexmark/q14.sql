-- q14, a calculation for each bid: euros, the time of day, and how often a letter occurs, by a function of our own.
CREATE TABLE bid (
  auction   BIGINT,
  bidder    BIGINT,
  price     BIGINT,
  channel   STRING,
  url       STRING,
  date_time TIMESTAMP(3),
  extra     STRING,
  WATERMARK FOR date_time AS date_time - INTERVAL '4' SECOND
) WITH ('connector' = 'nexmark', 'table' = 'bid', 'events' = '10000', 'event.gap' = '100ms', 'first.event.time' = '2024-12-31 23:50:00');

CREATE FUNCTION count_letter(text STRING, letter STRING) RETURNS BIGINT
RETURN CAST(character_length(text) - character_length(replace(text, letter, '')) AS BIGINT);

SELECT
  auction, bidder, CAST(price AS DOUBLE) * 0.908 AS price,
  CASE
    WHEN extract(HOUR FROM date_time) BETWEEN 8 AND 18 THEN 'day'
    WHEN extract(HOUR FROM date_time) <= 6 OR extract(HOUR FROM date_time) >= 20 THEN 'night'
    ELSE 'between'
  END AS time_of_day,
  date_time, extra, count_letter(extra, 'c') AS letters
FROM bid
WHERE CAST(price AS DOUBLE) * 0.908 > 1000000 AND CAST(price AS DOUBLE) * 0.908 < 50000000;
