WITH won AS (
  SELECT seller, id, price, bid_time
  FROM (
    SELECT
      a.seller, a.id, b.price, b.date_time AS bid_time,
      ROW_NUMBER() OVER (PARTITION BY a.id ORDER BY b.price DESC, b.date_time) AS place
    FROM auction AS a
    JOIN bid AS b ON a.id = b.auction
    WHERE b.date_time BETWEEN a.date_time AND a.expires
  ) AS ranked
  WHERE place = 1
)
SELECT
  seller, id,
  avg(price) OVER (PARTITION BY seller ORDER BY bid_time, id ROWS BETWEEN 9 PRECEDING AND CURRENT ROW) AS mean_price
FROM won
