-- Before: the five largest orders of each country.
SET 'job.name' = 'shop';
CREATE TABLE orders (id BIGINT, customer STRING, country STRING, price BIGINT, ts TIMESTAMP(3),
  WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = 'queries/evolution/data/orders.jsonl', 'format' = 'json');
CREATE TABLE best (country STRING, id BIGINT, price BIGINT)
WITH ('connector' = 'filesystem', 'path' = 'output/best', 'format' = 'changelog-json');
INSERT INTO best
SELECT country, id, price
FROM (SELECT country, id, price, row_number() OVER (PARTITION BY country ORDER BY price DESC, id) AS n FROM orders) AS r
WHERE n <= 5;
