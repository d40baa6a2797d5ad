CREATE TABLE sink (id BIGINT, n BIGINT) WITH ('connector' = 'blackhole');
INSERT OVERWRITE sink SELECT 1, 2;
