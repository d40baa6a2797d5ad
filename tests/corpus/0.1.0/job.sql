CREATE TABLE orders (id BIGINT, at TIMESTAMP(3), shop STRING, amount DECIMAL(12, 2), tags ARRAY<STRING>,
  WATERMARK FOR at AS at - INTERVAL '10' SECOND)
WITH ('connector' = 'filesystem', 'path' = 'data/orders.json', 'format' = 'json');
CREATE TABLE payments (order_id BIGINT, paid_at TIMESTAMP(3), paid DOUBLE, WATERMARK FOR paid_at AS paid_at - INTERVAL '10' SECOND)
WITH ('connector' = 'filesystem', 'path' = 'data/payments.json', 'format' = 'json');

CREATE TABLE by_shop (shop STRING, n BIGINT, total DECIMAL(38, 2), mean DOUBLE, most DECIMAL(12, 2))
WITH ('connector' = 'filesystem', 'path' = 'out/by_shop', 'format' = 'changelog-json');
CREATE TABLE minutes (start TIMESTAMP(3), shop STRING, n BIGINT)
WITH ('connector' = 'filesystem', 'path' = 'out/minutes', 'format' = 'changelog-json');
CREATE TABLE visits (start TIMESTAMP(3), shop STRING, n BIGINT)
WITH ('connector' = 'filesystem', 'path' = 'out/visits', 'format' = 'changelog-json');
CREATE TABLE paid (id BIGINT, shop STRING, paid DOUBLE)
WITH ('connector' = 'filesystem', 'path' = 'out/paid', 'format' = 'changelog-json');
CREATE TABLE unpaid (id BIGINT)
WITH ('connector' = 'filesystem', 'path' = 'out/unpaid', 'format' = 'changelog-json');
CREATE TABLE soon (id BIGINT, paid DOUBLE)
WITH ('connector' = 'filesystem', 'path' = 'out/soon', 'format' = 'changelog-json');
CREATE TABLE largest (shop STRING, id BIGINT, amount DECIMAL(12, 2))
WITH ('connector' = 'filesystem', 'path' = 'out/largest', 'format' = 'changelog-json');
CREATE TABLE top_counts (shop STRING, n BIGINT)
WITH ('connector' = 'filesystem', 'path' = 'out/top_counts', 'format' = 'changelog-json');
CREATE TABLE shops (shop STRING)
WITH ('connector' = 'filesystem', 'path' = 'out/shops', 'format' = 'changelog-json');
CREATE TABLE ids (id BIGINT)
WITH ('connector' = 'filesystem', 'path' = 'out/ids', 'format' = 'changelog-json');

INSERT INTO by_shop SELECT shop, count(*), sum(amount), avg(amount), max(amount) FROM orders GROUP BY shop;
INSERT INTO minutes SELECT window_start, shop, count(*) FROM TUMBLE(orders, at, INTERVAL '1' MINUTE) GROUP BY window_start, window_end, shop;
INSERT INTO visits SELECT window_start, shop, count(*) FROM SESSION(orders PARTITION BY shop, at, INTERVAL '20' SECOND) GROUP BY window_start, window_end, shop;
INSERT INTO paid SELECT o.id, o.shop, p.paid FROM orders AS o JOIN payments AS p ON o.id = p.order_id;
INSERT INTO unpaid SELECT o.id FROM orders AS o WHERE NOT EXISTS (SELECT 1 FROM payments AS p WHERE p.order_id = o.id);
INSERT INTO soon SELECT o.id, p.paid FROM orders AS o JOIN payments AS p ON o.id = p.order_id AND p.paid_at BETWEEN o.at AND o.at + INTERVAL '30' SECOND;
INSERT INTO largest SELECT shop, id, amount FROM orders QUALIFY row_number() OVER (PARTITION BY shop ORDER BY amount DESC, id) <= 2;
INSERT INTO top_counts SELECT shop, n FROM (SELECT shop, count(*) AS n FROM orders GROUP BY shop) AS c QUALIFY row_number() OVER (ORDER BY n DESC, shop) <= 2;
INSERT INTO shops SELECT DISTINCT shop FROM orders;
INSERT INTO ids SELECT id FROM orders EXCEPT SELECT order_id FROM payments;
