CREATE TABLE bid (
  auction BIGINT,
  price   DECIMAL(10, 2),
  ts      TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = 'bids', 'format' = 'json');
SET 'state.ttl' = '1 day';
CREATE VIEW per_auction AS SELECT auction, count(*) AS bids FROM bid GROUP BY auction;
SELECT bids, count(*) AS auctions FROM per_auction GROUP BY bids;
