-- Before: totals by customer and country.
SET 'job.name' = 'shop';
CREATE TABLE orders (id BIGINT, customer STRING, country STRING, price BIGINT, ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = 'queries/evolution/data/orders.jsonl', 'format' = 'json');
CREATE TABLE report (customer STRING, country STRING, total BIGINT)
WITH ('connector' = 'filesystem', 'path' = 'output/report', 'format' = 'changelog-json');
CREATE VIEW totals AS SELECT customer, country, sum(price) AS total FROM orders GROUP BY customer, country;
INSERT INTO report SELECT customer, country, total FROM totals;
