WITH registered AS (
  SELECT DISTINCT id, name, time_bucket(INTERVAL '10 seconds', date_time, TIMESTAMP '1970-01-01') AS window_start
  FROM person
),
opened AS (
  SELECT seller, count(*) AS auctions, time_bucket(INTERVAL '10 seconds', date_time, TIMESTAMP '1970-01-01') AS window_start
  FROM auction
  GROUP BY 1, 3
)
SELECT r.id, r.name, r.window_start, o.auctions
FROM registered AS r
JOIN opened AS o ON r.id = o.seller AND r.window_start = o.window_start;
