CREATE TABLE sink (id BIGINT, n BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO sink PARTITION (id = 1) SELECT 2;
