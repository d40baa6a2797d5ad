-- A second report over the same totals: it is there at once, and whole.
-- flags:
SET 'job.name' = 'shop';
CREATE TABLE orders (id BIGINT, customer STRING, country STRING, price BIGINT, ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = 'queries/evolution/data/orders.jsonl', 'format' = 'json');
CREATE TABLE report (customer STRING, total BIGINT)
WITH ('connector' = 'filesystem', 'path' = 'output/report', 'format' = 'changelog-json');
CREATE TABLE everything (orders BIGINT, spent BIGINT)
WITH ('connector' = 'filesystem', 'path' = 'output/everything', 'format' = 'changelog-json');
CREATE VIEW totals AS SELECT customer, sum(price) AS total FROM orders GROUP BY customer;
INSERT INTO report SELECT customer, total FROM totals;
INSERT INTO everything SELECT count(*), sum(total) FROM totals;
