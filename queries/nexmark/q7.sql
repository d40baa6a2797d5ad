-- q7, the highest bid of every ten seconds, and who made it.
--
-- A window's rows joined with the window's answer.
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

WITH highest AS (
  SELECT max(price) AS price, window_start, window_end
  FROM TUMBLE(bid, date_time, INTERVAL '10' SECOND)
  GROUP BY window_start, window_end
),
placed AS (
  SELECT auction, bidder, price, date_time, window_start, window_end
  FROM TUMBLE(bid, date_time, INTERVAL '10' SECOND)
)
SELECT p.auction, p.price, p.bidder, p.date_time
FROM placed AS p
JOIN highest AS h ON p.window_start = h.window_start AND p.window_end = h.window_end AND p.price = h.price;
