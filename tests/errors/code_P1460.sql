CREATE TABLE bid (
  auction BIGINT,
  price   DECIMAL(10, 2)
) WITH ('connector' = 'filesystem', 'path' = 'bids', 'format' = 'json');
SELECT /*+ STATE_TTL('bid' = '1 d') */ auction, count(*) AS n FROM bid GROUP BY auction;
