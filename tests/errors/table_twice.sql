CREATE TABLE t (
  a BIGINT,
  A STRING,
  ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts,
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND
) WITH ('connector' = 'print', 'Connector' = 'blackhole');
CREATE VIEW v (x, y, x) AS SELECT 1, 2, 3;
