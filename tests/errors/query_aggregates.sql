SELECT string_agg(a, ',' LIMIT 5) FROM t;
SELECT count(t.*) FROM t;
SELECT f(a => 1) FROM t;
SELECT upper(a) FILTER (WHERE a > 'x') FROM t;
SELECT upper(DISTINCT a) FROM t;
SELECT upper(a ORDER BY b) FROM t;
SELECT upper(a) WITHIN GROUP (ORDER BY b) FROM t;
SELECT upper(a) IGNORE NULLS FROM t;
SELECT array_agg(a ORDER BY b WITH FILL) FROM t;
