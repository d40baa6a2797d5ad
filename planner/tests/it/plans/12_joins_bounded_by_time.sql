-- An interval join, one after another, and a join of windows: append-only, and what they keep ends with the watermark.
CREATE TABLE orders (id BIGINT, item STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = 'orders', 'format' = 'json');
CREATE TABLE shipments (order_id BIGINT, at TIMESTAMP(6), WATERMARK FOR at AS at - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = 'shipments', 'format' = 'json');
CREATE VIEW shipped AS
SELECT o.id, o.ts, s.at FROM orders AS o JOIN shipments AS s
ON o.id = s.order_id AND s.at > o.ts AND s.at <= o.ts + INTERVAL '4' HOUR AND o.item <> 'none';
SELECT a.id, b.at FROM shipped AS a JOIN shipments AS b ON a.id = b.order_id AND b.at BETWEEN a.at - INTERVAL '1' HOUR AND a.at;
SELECT a.window_end, count(*) FROM TUMBLE(orders, ts, INTERVAL '1' HOUR) AS a JOIN TUMBLE(shipments, at, INTERVAL '1' HOUR) AS b
ON a.window_start = b.window_start AND a.window_end = b.window_end AND a.id = b.order_id
GROUP BY a.window_start, a.window_end;
-- One bound only: a row would wait for ever, and so the join keeps both sides.
SELECT o.id FROM orders AS o JOIN shipments AS s ON o.id = s.order_id AND s.at > o.ts;
