CREATE TABLE sink (id BIGINT, n BIGINT) WITH ('connector' = 'blackhole');
INSERT INTO sink BY NAME SELECT 1 AS id, 2 AS n;
