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

SELECT auction + bidder FROM bid;
SELECT * FROM bid WHERE price;
SELECT CASE WHEN auction > 1 THEN ts ELSE 5 END FROM bid;
SELECT * FROM bid WHERE auction IN (1, ts);
SELECT upper(auction, bidder) FROM bid;
SELECT CAST(ts AS BOOLEAN) FROM bid;
SELECT CAST('12x' AS INT) FROM bid;
SELECT DATE 'tomorrow' FROM bid;
SELECT * FROM bid HAVING auction;
SELECT sum(bidder) FROM bid;
