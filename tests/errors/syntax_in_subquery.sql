SELECT a
FROM (
  SELECT a, b
  FROM t
  WHERE a >
) AS x
