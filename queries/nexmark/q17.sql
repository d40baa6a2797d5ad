-- q17, an auction in numbers: how many bids of what size each auction gets a day, from what to what, their mean and sum.
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

SELECT
  auction,
  CAST(date_time AS DATE) AS day,
  count(*) AS bids,
  count(*) FILTER (WHERE price < 10000) AS cheap,
  count(*) FILTER (WHERE price >= 10000 AND price < 1000000) AS fair,
  count(*) FILTER (WHERE price >= 1000000) AS dear,
  min(price) AS lowest,
  max(price) AS highest,
  avg(price) AS mean,
  sum(price) AS total
FROM bid
GROUP BY auction, CAST(date_time AS DATE);
