WITH counted AS (
  SELECT auction, count(*) AS bids, window_start, window_end
  FROM TABLE(HOP(TABLE bid, DESCRIPTOR(date_time), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
  GROUP BY window_start, window_end, auction
),
most AS (
  SELECT max(bids) AS bids, window_start, window_end
  FROM counted
  GROUP BY window_start, window_end
)
SELECT c.auction, c.bids, c.window_start, c.window_end
FROM counted AS c
JOIN most AS m ON c.window_start = m.window_start AND c.window_end = m.window_end AND c.bids = m.bids
