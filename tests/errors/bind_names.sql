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

SELECT acution FROM bid;
SELECT * FROM bids;
SELECT b.prize FROM bid AS b;
SELECT bid.auction FROM bid AS b;
SELECT x.* FROM bid;
SELECT auction FROM bid AS a JOIN bid AS b ON a.auction = b.auction;
SELECT ronud(price) FROM bid;
SELECT id FROM bid, bid WHERE 1 = 1;
SELECT auction AS a FROM bid WHERE a > 1;
CREATE VIEW twice AS SELECT auction AS a, bidder AS a FROM bid;
SELECT a FROM twice;
