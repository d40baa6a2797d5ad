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

SELECT auction, price FROM bid GROUP BY auction;
SELECT auction FROM bid GROUP BY auction HAVING price > 1;
SELECT auction, count(*) FROM bid;
SELECT auction FROM bid WHERE max(price) > 1 GROUP BY auction;
SELECT sum(count(*)) FROM bid;
SELECT auction FROM bid GROUP BY 3;
SELECT count(*) FROM bid GROUP BY max(price);
SELECT *, count(*) FROM bid GROUP BY auction;
