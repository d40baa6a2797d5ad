CREATE TABLE orders (customer STRING, price BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) WITH ('connector' = 'filesystem', 'path' = 'orders', 'format' = 'json');
CREATE TABLE out (customer STRING, total BIGINT) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'changelog-json');
SET 'state.ttl' = '1 day';
INSERT INTO out SELECT customer, sum(price) FROM orders GROUP BY customer;
-- then
CREATE TABLE orders (customer STRING, price BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) WITH ('connector' = 'filesystem', 'path' = 'orders', 'format' = 'json');
CREATE TABLE out (customer STRING, total BIGINT) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'changelog-json');
SET 'state.ttl' = '7 days';
INSERT INTO out SELECT customer, sum(price) FROM orders GROUP BY customer;
