SELECT a, b, count(*) FROM t GROUP BY GROUPING SETS ((a), (b));
SELECT a, b, count(*) FROM t GROUP BY ROLLUP (a, b);
SELECT a, b, count(*) FROM t GROUP BY CUBE (a, b);
SELECT a, count(*) FROM t GROUP BY ALL;
SELECT a, count(*) FROM t GROUP BY a WITH ROLLUP;
SELECT count(*) FROM t GROUP BY ();
