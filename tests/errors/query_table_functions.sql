SELECT * FROM generate_series(1, 10);
SELECT * FROM TABLE(my_function(a));
SELECT * FROM t, UNNEST(t.tags) AS u (tag);
SELECT * FROM t CROSS JOIN UNNEST(tags) AS u (tag);
SELECT * FROM t, LATERAL TABLE(split(a)) AS s (x);
SELECT * FROM t TABLESAMPLE BERNOULLI (10);
SELECT * FROM JSON_TABLE(a, '$' COLUMNS (b INT PATH '$.b')) AS j;
