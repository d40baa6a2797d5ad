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

SELECT a.auction, random() AS r FROM bid AS a JOIN auction AS b ON a.auction = b.id;
