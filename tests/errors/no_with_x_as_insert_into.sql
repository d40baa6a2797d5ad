CREATE TABLE sink (id BIGINT, n BIGINT) WITH ('connector' = 'blackhole');
WITH x AS (INSERT INTO sink SELECT 1, 2 RETURNING id) SELECT * FROM x;
