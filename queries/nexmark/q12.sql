-- q12, by the clock on the wall: bids of each person in windows of ten seconds of processing time.
--
-- Which window a bid is in depends on when it is read. The totals do not.
CREATE TABLE bid (
  auction   BIGINT,
  bidder    BIGINT,
  price     BIGINT,
  channel   STRING,
  url       STRING,
  date_time TIMESTAMP(3),
  extra     STRING,
  seen_at   AS PROCTIME(),
  WATERMARK FOR date_time AS date_time - INTERVAL '4' SECOND
) WITH ('connector' = 'nexmark', 'table' = 'bid', 'events' = '10000', 'event.gap' = '100ms', 'first.event.time' = '2024-12-31 23:50:00');

SELECT bidder, count(*) AS bids, window_start, window_end
FROM TUMBLE(bid, seen_at, INTERVAL '10' SECOND)
GROUP BY window_start, window_end, bidder;
