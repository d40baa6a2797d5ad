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

CREATE VIEW counts AS SELECT auction, count(*) AS bids FROM bid GROUP BY auction;
SELECT max(bids) FROM counts;
SELECT auction, bids, now() FROM counts;
SELECT count(*) FROM counts GROUP BY bids % CAST(random() * 10 AS BIGINT);
