CREATE TABLE orders (id BIGINT, customer STRING, country STRING, price BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
  WITH ('connector' = 'filesystem', 'path' = 'orders', 'format' = 'json');
CREATE TABLE customers (customer STRING, name STRING, vip BOOLEAN) WITH ('connector' = 'filesystem', 'path' = 'customers', 'format' = 'changelog-json');
CREATE TABLE out (customer STRING, total BIGINT) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'changelog-json');
CREATE VIEW totals AS SELECT customer, sum(price) AS total FROM orders GROUP BY customer;
INSERT INTO out SELECT customer, total FROM totals WHERE total > 100;
-- then
CREATE TABLE orders (id BIGINT, customer STRING, country STRING, price BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
  WITH ('connector' = 'filesystem', 'path' = 'orders', 'format' = 'json');
CREATE TABLE customers (customer STRING, name STRING, vip BOOLEAN) WITH ('connector' = 'filesystem', 'path' = 'customers', 'format' = 'changelog-json');
CREATE TABLE out (customer STRING, total BIGINT) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'changelog-json');
CREATE VIEW totals AS SELECT customer, sum(price) AS total, max(price) AS top FROM orders GROUP BY customer;
INSERT INTO out SELECT customer, total FROM totals WHERE total > 100 AND top > 10;
