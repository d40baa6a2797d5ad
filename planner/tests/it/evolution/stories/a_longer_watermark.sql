CREATE TABLE orders (id BIGINT, customer STRING, country STRING, price BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
  WITH ('connector' = 'filesystem', 'path' = 'orders', 'format' = 'json');
CREATE TABLE customers (customer STRING, name STRING, vip BOOLEAN) WITH ('connector' = 'filesystem', 'path' = 'customers', 'format' = 'changelog-json');
CREATE TABLE out (at TIMESTAMP(3), country STRING, n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'json');
INSERT INTO out SELECT window_start, country, count(*) FROM TUMBLE(orders, ts, INTERVAL '1' MINUTE) GROUP BY window_start, window_end, country;
-- then
CREATE TABLE orders (id BIGINT, customer STRING, country STRING, price BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '30' SECOND)
  WITH ('connector' = 'filesystem', 'path' = 'orders', 'format' = 'json');
CREATE TABLE customers (customer STRING, name STRING, vip BOOLEAN) WITH ('connector' = 'filesystem', 'path' = 'customers', 'format' = 'changelog-json');
CREATE TABLE out (at TIMESTAMP(3), country STRING, n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'json');
INSERT INTO out SELECT window_start, country, count(*) FROM TUMBLE(orders, ts, INTERVAL '1' MINUTE) GROUP BY window_start, window_end, country;
