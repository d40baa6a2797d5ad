CREATE TABLE a (k STRING, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '1' SECOND) WITH ('connector' = 'filesystem', 'path' = 'a', 'format' = 'json');
CREATE TABLE b (k STRING, ts TIMESTAMP(3), n INT, WATERMARK FOR ts AS ts) WITH ('connector' = 'filesystem', 'path' = 'b', 'format' = 'json');
CREATE VIEW both_of_them AS SELECT k, 1 AS n, ts FROM a UNION ALL SELECT k, n, ts FROM b WHERE n > 0;
SELECT k, window_start, sum(n) FROM TUMBLE(both_of_them, ts, INTERVAL '1' MINUTE) GROUP BY k, window_start;
