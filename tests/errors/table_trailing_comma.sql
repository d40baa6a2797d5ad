CREATE TABLE t (
  a BIGINT,
  b STRING,
) WITH ('connector' = 'print');
