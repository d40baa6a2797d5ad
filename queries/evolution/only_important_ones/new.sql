-- Only those of important customers: a condition on the updating side, whose rows the join holds.
-- flags:
SET 'job.name' = 'shop';
CREATE TABLE orders (id BIGINT, customer STRING, country STRING, price BIGINT, ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = 'queries/evolution/data/orders.jsonl', 'format' = 'json');
CREATE TABLE customers (customer STRING, city STRING, vip BOOLEAN)
WITH ('connector' = 'filesystem', 'path' = 'queries/evolution/data/customers.jsonl', 'format' = 'changelog-json');
CREATE TABLE visits (id BIGINT, city STRING)
WITH ('connector' = 'filesystem', 'path' = 'output/visits', 'format' = 'changelog-json');
INSERT INTO visits
SELECT o.id, c.city
FROM orders AS o
JOIN customers AS c ON o.customer = c.customer
WHERE c.city = 'Bern';
