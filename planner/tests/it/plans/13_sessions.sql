-- SESSION keeps rows until their session is over; what stands above reads rows that carry their windows.
CREATE TABLE bids (item STRING, bidder BIGINT, price DOUBLE, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = 'bids', 'format' = 'json');
CREATE VIEW visits AS
SELECT bidder, item, price, window_start, window_end FROM SESSION(bids PARTITION BY bidder, ts, INTERVAL '30' MINUTE);
SELECT bidder, window_start, window_end, count(*) FROM visits GROUP BY bidder, window_start, window_end;
SELECT window_end, max(price) FROM TABLE(SESSION(TABLE bids PARTITION BY (item, bidder), DESCRIPTOR(ts), INTERVAL '1' HOUR)) AS w
WHERE price > 1 GROUP BY window_start, window_end;
