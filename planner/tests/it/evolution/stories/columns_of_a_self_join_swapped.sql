CREATE TABLE orders (id BIGINT, customer STRING, country STRING, price BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
  WITH ('connector' = 'filesystem', 'path' = 'orders', 'format' = 'json');
CREATE TABLE customers (customer STRING, name STRING, vip BOOLEAN) WITH ('connector' = 'filesystem', 'path' = 'customers', 'format' = 'changelog-json');
CREATE TABLE out (customer STRING, s BIGINT) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'changelog-json');
CREATE VIEW pairs AS SELECT a.customer, a.price AS x, b.price AS y FROM orders AS a JOIN orders AS b ON a.id = b.id;
INSERT INTO out SELECT customer, sum(x) FROM pairs GROUP BY customer;
-- then
CREATE TABLE orders (id BIGINT, customer STRING, country STRING, price BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
  WITH ('connector' = 'filesystem', 'path' = 'orders', 'format' = 'json');
CREATE TABLE customers (customer STRING, name STRING, vip BOOLEAN) WITH ('connector' = 'filesystem', 'path' = 'customers', 'format' = 'changelog-json');
CREATE TABLE out (customer STRING, s BIGINT) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'changelog-json');
CREATE VIEW pairs AS SELECT a.customer, a.price AS x, b.price AS y FROM orders AS a JOIN orders AS b ON a.id = b.id;
INSERT INTO out SELECT customer, sum(y) FROM pairs GROUP BY customer;
