CREATE TABLE bid (
  auction BIGINT,
  bidder STRING,
  price DECIMAL(10, 2),
  ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = 'bids', 'format' = 'json');
CREATE TABLE auction (
  id BIGINT,
  seller STRING
) WITH ('connector' = 'filesystem', 'path' = 'auctions', 'format' = 'json');

SELECT auction FROM bid UNION ALL SELECT id, seller FROM auction;
SELECT auction FROM bid UNION ALL SELECT seller FROM auction;
SELECT ts FROM bid UNION ALL SELECT id FROM auction;
