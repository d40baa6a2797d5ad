CREATE TABLE t (a INT) WITH (
  connector = 'print',
  'format' 'json',
  'path' = data,
  "mode" = 'snapshot',
  'split' = 'file' 'delimiter' = ',',
  'null' = 'NULL',
);
