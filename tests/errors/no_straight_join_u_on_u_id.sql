CREATE TABLE t (id BIGINT, name STRING, price BIGINT, d DATE, ts TIMESTAMP(3), tags ARRAY<STRING>, person ROW<name STRING, city STRING>, WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) WITH ('connector' = 'filesystem', 'path' = 't', 'format' = 'json');
CREATE TABLE u (id BIGINT, x BIGINT) WITH ('connector' = 'filesystem', 'path' = 'u', 'format' = 'json');
SELECT * FROM t STRAIGHT_JOIN u ON t.id = u.id;
