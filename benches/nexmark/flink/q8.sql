WITH registered AS (
  SELECT id, name, window_start, window_end
  FROM TABLE(TUMBLE(TABLE person, DESCRIPTOR(date_time), INTERVAL '10' SECOND))
  GROUP BY window_start, window_end, id, name
),
opened AS (
  SELECT seller, count(*) AS auctions, window_start, window_end
  FROM TABLE(TUMBLE(TABLE auction, DESCRIPTOR(date_time), INTERVAL '10' SECOND))
  GROUP BY window_start, window_end, seller
)
SELECT r.id, r.name, r.window_start, o.auctions
FROM registered AS r
JOIN opened AS o ON r.id = o.seller AND r.window_start = o.window_start AND r.window_end = o.window_end
