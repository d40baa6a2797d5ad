CREATE TABLE t (id BIGINT, name STRING, price BIGINT, d DATE, ts TIMESTAMP(3), tags ARRAY<STRING>, person ROW<name STRING, city STRING>, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) WITH ('connector' = 'filesystem', 'path' = 't', 'format' = 'json');
SELECT SUBSTRING(name FROM 'a.*') FROM t;
