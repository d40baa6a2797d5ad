-- Windows of five minutes: those that were open are given up, and those that were given stay.
-- flags: --start-empty minutes/aggregate --accept minutes/sink
SET 'job.name' = 'shop';
CREATE TABLE orders (id BIGINT, customer STRING, country STRING, price BIGINT, ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = 'queries/evolution/data/orders.jsonl', 'format' = 'json');
CREATE TABLE minutes (at TIMESTAMP(3), country STRING, n BIGINT)
WITH ('connector' = 'filesystem', 'path' = 'output/minutes', 'format' = 'json');
INSERT INTO minutes
SELECT window_start, country, count(*)
FROM TUMBLE(orders, ts, INTERVAL '5' MINUTE)
GROUP BY window_start, window_end, country;
