CREATE TABLE orders (id BIGINT, customer STRING, country STRING, price BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
  WITH ('connector' = 'filesystem', 'path' = 'orders', 'format' = 'json');
CREATE TABLE customers (customer STRING, name STRING, vip BOOLEAN) WITH ('connector' = 'filesystem', 'path' = 'customers', 'format' = 'changelog-json');
CREATE TABLE out (id BIGINT, name STRING) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'changelog-json');
INSERT INTO out SELECT o.id, c.name FROM orders AS o JOIN customers AS c ON o.customer = c.customer WHERE c.vip;
-- then
CREATE TABLE orders (id BIGINT, customer STRING, country STRING, price BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
  WITH ('connector' = 'filesystem', 'path' = 'orders', 'format' = 'json');
CREATE TABLE customers (customer STRING, name STRING, city STRING, vip BOOLEAN) WITH ('connector' = 'filesystem', 'path' = 'customers', 'format' = 'changelog-json');
CREATE TABLE out (id BIGINT, name STRING, city STRING) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'changelog-json');
INSERT INTO out SELECT o.id, c.name, c.city FROM orders AS o JOIN customers AS c ON o.customer = c.customer WHERE c.vip;
