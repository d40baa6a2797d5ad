-- A window whose columns are not grouped by: each row once for every window.
CREATE TABLE bids (item STRING, price DOUBLE, ts TIMESTAMP(6), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = 'bids', 'format' = 'json');
SELECT item, window_end FROM HOP(bids, ts, INTERVAL '5' MINUTE, INTERVAL '10' MINUTE, INTERVAL '1' MINUTE) AS w WHERE w.price > 1;
