CREATE TABLE t (id BIGINT, name STRING) WITH ('connector' = 'filesystem', 'path' = 't', 'format' = 'json');
SELECT generate_series(1, 3);
SELECT id, generate_series(1, id) AS n FROM t;
