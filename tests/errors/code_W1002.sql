CREATE TABLE bid (
  auction BIGINT,
  price   DECIMAL(10, 2),
  ts      TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = 'bids', 'format' = 'json', 'mode' = 'continuous');
SELECT a.auction FROM bid AS a JOIN bid AS b ON a.auction = b.auction;
