-- Every one of these is told, in the order of the text.
CREATE TABLE bid (
  auction BIGNIT,
  price DECIMAL(90, 2),
  placed TIMESTAMP(3)
) WITH ('connector' = 'filesystem');

SELECT DISTINCT auction
FROM bid
LEFT JOIN auction ON bid.auction = auction.id
ORDER BY auction;

SET 'paralelism' = '4';
SELECT 'unfinished FROM bid;
