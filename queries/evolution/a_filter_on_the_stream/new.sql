-- Orders from country XX are not to count any more, and what they were is gone: taken as it is.
-- flags: --accept totals/aggregate
SET 'job.name' = 'shop';
CREATE TABLE orders (id BIGINT, customer STRING, country STRING, price BIGINT, ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = 'queries/evolution/data/orders.jsonl', 'format' = 'json');
CREATE TABLE report (customer STRING, total BIGINT)
WITH ('connector' = 'filesystem', 'path' = 'output/report', 'format' = 'changelog-json');
CREATE VIEW totals AS
SELECT customer, sum(price) AS total
FROM orders
WHERE country <> 'XX'
GROUP BY customer;
INSERT INTO report SELECT customer, total FROM totals;
