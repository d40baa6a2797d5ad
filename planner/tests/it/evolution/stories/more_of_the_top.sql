CREATE TABLE orders (id BIGINT, customer STRING, country STRING, price BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
  WITH ('connector' = 'filesystem', 'path' = 'orders', 'format' = 'json');
CREATE TABLE customers (customer STRING, name STRING, vip BOOLEAN) WITH ('connector' = 'filesystem', 'path' = 'customers', 'format' = 'changelog-json');
CREATE TABLE out (country STRING, id BIGINT, price BIGINT) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'changelog-json');
INSERT INTO out SELECT country, id, price FROM orders QUALIFY ROW_NUMBER() OVER (PARTITION BY country ORDER BY price DESC) <= 3;
-- then
CREATE TABLE orders (id BIGINT, customer STRING, country STRING, price BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
  WITH ('connector' = 'filesystem', 'path' = 'orders', 'format' = 'json');
CREATE TABLE customers (customer STRING, name STRING, vip BOOLEAN) WITH ('connector' = 'filesystem', 'path' = 'customers', 'format' = 'changelog-json');
CREATE TABLE out (country STRING, id BIGINT, price BIGINT) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'changelog-json');
INSERT INTO out SELECT country, id, price FROM orders QUALIFY ROW_NUMBER() OVER (PARTITION BY country ORDER BY price DESC) <= 10;
