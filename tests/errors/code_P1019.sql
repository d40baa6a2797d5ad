CREATE TABLE bid (
  auction BIGINT,
  price   DECIMAL(10, 2),
  ts      TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = 'bids', 'format' = 'json');
CREATE TABLE counts (auction BIGINT, bids BIGINT) WITH ('connector' = 'print');
INSERT INTO counts SELECT auction, count(*) FROM bid GROUP BY auction;
INSERT INTO counts SELECT auction, count(*) FROM bid WHERE price > 10 GROUP BY auction;
