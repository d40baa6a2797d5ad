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

CREATE TABLE out (a BIGINT, b STRING) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'csv');
INSERT INTO outt SELECT auction, bidder FROM bid;
INSERT INTO out SELECT auction FROM bid;
INSERT INTO out SELECT bidder, auction FROM bid;
INSERT INTO out (a, c) SELECT auction, bidder FROM bid;
INSERT INTO out SELECT count(*), bidder FROM bid GROUP BY bidder;
INSERT INTO bid SELECT * FROM bid;
