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

SELECT window_start, count(*) FROM TUMBLE(auction, id, INTERVAL '1' HOUR) GROUP BY window_start, window_end;
SELECT window_start, count(*) FROM TUMBLE(bid, auction, INTERVAL '1' HOUR) GROUP BY window_start, window_end;
SELECT window_start, count(*) FROM TUMBLE(bid, tss, INTERVAL '1' HOUR) GROUP BY window_start, window_end;
SELECT window_start, count(*) FROM TUMBLE(bids, ts, INTERVAL '1' HOUR) GROUP BY window_start, window_end;
SELECT count(*)
FROM TUMBLE((SELECT a.ts FROM bid AS a JOIN auction AS b ON a.auction = b.id), ts, INTERVAL '1' HOUR)
GROUP BY window_start, window_end;
SELECT window_start, max(CASE WHEN ts = window_start THEN price END) FROM TUMBLE(bid, ts, INTERVAL '1' HOUR) GROUP BY window_start;
