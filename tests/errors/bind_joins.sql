CREATE TABLE bid (
  auction BIGINT,
  bidder STRING,
  price DECIMAL(10, 2),
  ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = 'bids', 'format' = 'json', 'mode' = 'continuous');
CREATE TABLE auction (
  id BIGINT,
  seller STRING
) WITH ('connector' = 'filesystem', 'path' = 'auctions', 'format' = 'json', 'mode' = 'continuous');

SELECT * FROM bid AS a JOIN auction AS b ON a.price > 10;
SELECT * FROM bid, auction;
SELECT * FROM bid JOIN auction USING (id);
SELECT * FROM bid AS a JOIN auction AS b ON a.bidder = b.id;
SELECT * FROM bid JOIN auction ON bid.auction = auction.idd;
