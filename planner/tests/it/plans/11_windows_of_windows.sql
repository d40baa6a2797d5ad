-- A window's groups grouped again by their window, an aggregate that looks at the window of each row, and CUMULATE.
CREATE TABLE bids (item STRING, price DOUBLE, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = 'bids', 'format' = 'json');
CREATE VIEW hourly AS
SELECT item, count(*) AS n, window_start, window_end FROM TUMBLE(bids, ts, INTERVAL '1' HOUR) GROUP BY item, window_start, window_end;
SELECT window_start, window_end, max(n) FROM hourly GROUP BY window_start, window_end;
SELECT window_end, max(CASE WHEN ts < window_start + INTERVAL '1' MINUTE THEN price END) AS early
FROM CUMULATE(bids, ts, INTERVAL '1' HOUR, INTERVAL '1' DAY) GROUP BY window_start, window_end;
SELECT window_end, sum(price) FROM CUMULATE(bids, ts, INTERVAL '1' HOUR, INTERVAL '1' DAY) GROUP BY window_start, window_end;
