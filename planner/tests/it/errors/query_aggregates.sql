SELECT count(DISTINCT a) FROM t;
SELECT array_agg(a ORDER BY b) FROM t;
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY a) FROM t;
SELECT first_value(a) IGNORE NULLS FROM t;
SELECT string_agg(a, ',' LIMIT 5) FROM t;
SELECT count(t.*) FROM t;
SELECT f(a => 1) FROM t;
SELECT upper(a) FILTER (WHERE a > 'x') FROM t;
