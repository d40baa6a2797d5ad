-- q5, what is hot: every two seconds, the auctions that got most bids in the last ten.
--
-- Sliding windows counted once and read twice: for the greatest count of each window, and for the auctions that have it.
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

WITH counted AS (
  SELECT auction, count(*) AS bids, window_start, window_end
  FROM HOP(bid, date_time, INTERVAL '2' SECOND, INTERVAL '10' SECOND)
  GROUP BY window_start, window_end, auction
),
most AS (
  SELECT max(bids) AS bids, window_start, window_end
  FROM counted
  GROUP BY window_start, window_end
)
SELECT c.auction, c.bids, c.window_start, c.window_end
FROM counted AS c
JOIN most AS m ON c.window_start = m.window_start AND c.window_end = m.window_end AND c.bids = m.bids;
