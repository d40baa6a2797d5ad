-- q1, another currency: the price of every bid in euros. A projection.
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

SELECT auction, bidder, CAST(price AS DOUBLE) * 0.908 AS price, date_time, extra
FROM bid;
