WITH counted AS (
  SELECT auction, count(*) AS bids, window_start, window_end
  FROM (
    SELECT auction, window_start, window_start + INTERVAL '10 seconds' AS window_end
    FROM (
      SELECT auction, time_bucket(INTERVAL '2 seconds', date_time, TIMESTAMP '1970-01-01') - INTERVAL '0 seconds' AS window_start FROM bid
      UNION ALL
      SELECT auction, time_bucket(INTERVAL '2 seconds', date_time, TIMESTAMP '1970-01-01') - INTERVAL '2 seconds' AS window_start FROM bid
      UNION ALL
      SELECT auction, time_bucket(INTERVAL '2 seconds', date_time, TIMESTAMP '1970-01-01') - INTERVAL '4 seconds' AS window_start FROM bid
      UNION ALL
      SELECT auction, time_bucket(INTERVAL '2 seconds', date_time, TIMESTAMP '1970-01-01') - INTERVAL '6 seconds' AS window_start FROM bid
      UNION ALL
      SELECT auction, time_bucket(INTERVAL '2 seconds', date_time, TIMESTAMP '1970-01-01') - INTERVAL '8 seconds' AS window_start FROM bid
    ) AS starts
  ) AS windowed
  GROUP BY auction, window_start, window_end
),
most AS (SELECT max(bids) AS bids, window_end FROM counted GROUP BY window_end)
SELECT c.auction, c.bids, c.window_start, c.window_end
FROM counted AS c
JOIN most AS m ON c.window_end = m.window_end AND c.bids = m.bids;
