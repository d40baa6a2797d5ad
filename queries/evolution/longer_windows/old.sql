-- Before: orders by country and minute.
SET 'job.name' = 'shop';
CREATE TABLE orders (id BIGINT, customer STRING, country STRING, price BIGINT, ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = 'queries/evolution/data/orders.jsonl', 'format' = 'json');
CREATE TABLE minutes (at TIMESTAMP(3), country STRING, n BIGINT)
WITH ('connector' = 'filesystem', 'path' = 'output/minutes', 'format' = 'json');
INSERT INTO minutes
SELECT window_start, country, count(*)
FROM TUMBLE(orders, ts, INTERVAL '1' MINUTE)
GROUP BY window_start, window_end, country;
