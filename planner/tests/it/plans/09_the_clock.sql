-- The clock is never folded; a literal is.
CREATE TABLE a (k STRING, ts TIMESTAMP(3), proc AS PROCTIME()) WITH ('connector' = 'filesystem', 'path' = 'a', 'format' = 'json');
SELECT k, now(), current_date, proc, random() > 0.5, CAST('2024-02-29' AS DATE), ts > '2024-01-01' FROM a
WHERE ts < CAST(now() AS TIMESTAMP(3)) - INTERVAL '1' DAY;
