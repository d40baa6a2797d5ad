CREATE TABLE bid (
  auction BIGINT,
  price   DECIMAL(10, 2),
  ts      TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'filesystem', 'path' = 'bids', 'format' = 'json');
SELECT count(*)
FROM TUMBLE((SELECT ts, auction AS window_start FROM bid), ts, INTERVAL '1' HOUR)
GROUP BY window_start, window_end;
