SELECT
  auction, bidder, price, date_time, extra,
  CAST(CAST(date_time AS DATE) AS VARCHAR) AS day,
  substr(CAST(date_time AS VARCHAR), 12, 5) AS minute
FROM bid;
