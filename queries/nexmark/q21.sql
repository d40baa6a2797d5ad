-- q21, which channel: a number for the great ones, for others what stands in the address, and no row where nothing does.
CREATE TABLE bid (
  auction   BIGINT,
  bidder    BIGINT,
  price     BIGINT,
  channel   STRING,
  url       STRING,
  date_time TIMESTAMP(3),
  extra     STRING,
  WATERMARK FOR date_time AS date_time - INTERVAL '4' SECOND
) WITH ('connector' = 'nexmark', 'table' = 'bid', 'events' = '10000', 'event.gap' = '100ms', 'first.event.time' = '2024-12-31 23:50:00');

SELECT auction, bidder, price, channel, channel_id
FROM (
  SELECT
    auction, bidder, price, channel,
    CASE lower(channel)
      WHEN 'apple' THEN '0'
      WHEN 'google' THEN '1'
      WHEN 'facebook' THEN '2'
      WHEN 'baidu' THEN '3'
      ELSE regexp_match(url, '(&|^)channel_id=([^&]*)')[2]
    END AS channel_id
  FROM bid
) AS numbered
WHERE channel_id IS NOT NULL;
