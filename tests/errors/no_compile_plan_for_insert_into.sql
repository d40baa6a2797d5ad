CREATE TABLE sink (id BIGINT, n BIGINT) WITH ('connector' = 'blackhole');
COMPILE PLAN 'x' FOR INSERT INTO sink SELECT 1, 2;
