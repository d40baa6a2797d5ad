-- q22, where a bid was made: the folders of its address.
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

SELECT
  auction, bidder, price, channel,
  split_part(url, '/', 4) AS folder_1,
  split_part(url, '/', 5) AS folder_2,
  split_part(url, '/', 6) AS folder_3
FROM bid;
