SELECT
  auction,
  CAST(date_time AS DATE) AS `day`,
  count(*) AS bids,
  count(*) FILTER (WHERE price < 10000) AS cheap,
  count(*) FILTER (WHERE price >= 10000 AND price < 1000000) AS fair,
  count(*) FILTER (WHERE price >= 1000000) AS dear,
  min(price) AS lowest,
  max(price) AS highest,
  avg(CAST(price AS DOUBLE)) AS mean,
  sum(price) AS total
FROM bid
GROUP BY auction, CAST(date_time AS DATE)
