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

CREATE TABLE bid (a INT) WITH ('connector' = 'print');
CREATE VIEW auction AS SELECT 1 FROM bid;
CREATE TABLE x (a STRING, WATERMARK FOR a AS a) WITH ('connector' = 'print');
CREATE TABLE y (a TIMESTAMP(3), WATERMARK FOR a AS 'now') WITH ('connector' = 'print');
CREATE TABLE z (a BIGINT, b AS c + 1, f STRING METADATA FROM 'flie', g INT METADATA FROM 'file') WITH ('connector' = 'print');
CREATE TABLE w (a TIMESTAMP(3), WATERMARK FOR a AS a - INTERVAL 'a while') WITH ('connector' = 'print');
WITH c AS (SELECT auction FROM bid), c AS (SELECT price FROM bid) SELECT * FROM c;
CREATE VIEW v (a, b, c) AS SELECT auction, price FROM bid;
