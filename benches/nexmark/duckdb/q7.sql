WITH placed AS (
  SELECT auction, bidder, price, date_time, time_bucket(INTERVAL '10 seconds', date_time, TIMESTAMP '1970-01-01') AS window_start
  FROM bid
),
highest AS (SELECT max(price) AS price, window_start FROM placed GROUP BY window_start)
SELECT p.auction, p.price, p.bidder, p.date_time
FROM placed AS p
JOIN highest AS h ON p.window_start = h.window_start AND p.price = h.price;
