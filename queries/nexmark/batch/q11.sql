WITH marked AS (
  SELECT
    bidder, date_time,
    CASE
      WHEN date_time - lag(date_time) OVER (PARTITION BY bidder ORDER BY date_time) < INTERVAL '10 seconds' THEN 0
      ELSE 1
    END AS begins
  FROM bid
),
numbered AS (
  SELECT bidder, date_time, sum(begins) OVER (PARTITION BY bidder ORDER BY date_time ROWS UNBOUNDED PRECEDING) AS session
  FROM marked
)
SELECT bidder, count(*) AS bids, min(date_time) AS window_start, max(date_time) + INTERVAL '10 seconds' AS window_end
FROM numbered
GROUP BY bidder, session;
