CREATE TABLE t (a INT, b INT) WITH ('connector' = 'filesystem', 'path' = 't', 'format' = 'json');
SELECT a, count(*) FROM t GROUP BY ALL;
SELECT a, count(*) FROM t GROUP BY ROLLUP (a) WITH ROLLUP;
SELECT a, GROUPING(b) FROM t GROUP BY a;
SELECT count(*) FROM t GROUP BY CUBE (a, b, a + 1, a + 2, a + 3, a + 4, a + 5, a + 6, a + 7, a + 8);
