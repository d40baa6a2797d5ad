-- The conditions on plain columns go below the window, through a view; those on the window's columns above.
CREATE TABLE bids (item STRING, price DOUBLE, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = 'bids', 'format' = 'json');
CREATE VIEW hourly AS
SELECT item, price * 2 AS twice, window_start, window_end, window_time
FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(ts), INTERVAL '1' HOUR)) WHERE price > 0;
CREATE VIEW counted AS
SELECT window_start, item, count(*) AS n, avg(twice) AS mean, window_time AS at
FROM hourly
WHERE twice < 100 AND window_start > TIMESTAMP '2024-01-01 00:00:00'
GROUP BY item, window_start, window_end, window_time HAVING count(*) > 1;
CREATE VIEW day_source AS SELECT n, at FROM counted;
-- Event time goes on as window_time: a window over the result of a window.
SELECT window_start AS day, max(n) FROM TUMBLE(day_source, at, INTERVAL '1' DAY) GROUP BY window_start;
