-- q13, a table on the side: every bid with what a bounded file says of its auction.
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

CREATE TABLE side_input (key BIGINT, value STRING)
WITH ('connector' = 'filesystem', 'path' = 'queries/nexmark/side_input.csv', 'format' = 'csv');

SELECT b.auction, b.bidder, b.price, b.date_time, s.value
FROM bid AS b
JOIN side_input AS s ON b.auction % 1000 = s.key;
