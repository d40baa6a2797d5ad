-- Classes of 250 instead of 100: the second GROUP BY counts something else.
-- flags:
SET 'job.name' = 'shop';
CREATE TABLE orders (id BIGINT, customer STRING, country STRING, price BIGINT, ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = 'queries/evolution/data/orders.jsonl', 'format' = 'json');
CREATE TABLE sizes (hundreds BIGINT, customers BIGINT)
WITH ('connector' = 'filesystem', 'path' = 'output/sizes', 'format' = 'changelog-json');
CREATE VIEW totals AS SELECT customer, sum(price) AS total FROM orders GROUP BY customer;
INSERT INTO sizes SELECT total / 250, count(*) FROM totals GROUP BY total / 250;
