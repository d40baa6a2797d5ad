CREATE TABLE sink (id BIGINT, n BIGINT) WITH ('connector' = 'blackhole');
INSERT OR REPLACE INTO sink SELECT 1, 2;
