WITH highest AS (
  SELECT max(price) AS price, window_start, window_end
  FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(date_time), INTERVAL '10' SECOND))
  GROUP BY window_start, window_end
),
placed AS (
  SELECT auction, bidder, price, date_time, window_start, window_end
  FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(date_time), INTERVAL '10' SECOND))
)
SELECT p.auction, p.price, p.bidder, p.date_time
FROM placed AS p
JOIN highest AS h ON p.window_start = h.window_start AND p.window_end = h.window_end AND p.price = h.price
