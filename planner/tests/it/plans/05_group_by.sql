-- Keys and aggregates are stored in the order of their names; an alias and a place stand for their expressions.
CREATE TABLE bids (item STRING, price DOUBLE, qty INT, open BOOLEAN)
WITH ('connector' = 'filesystem', 'path' = 'bids', 'format' = 'json');
CREATE TABLE totals (qty BIGINT, size STRING, total BIGINT, n BIGINT)
WITH ('connector' = 'filesystem', 'path' = 'totals', 'format' = 'csv', 'mode' = 'snapshot');
INSERT INTO totals (size, n, total, qty)
SELECT CASE WHEN price > 10 THEN 'big' ELSE 'small' END AS size, count(*) + 1, sum(qty) FILTER (WHERE open), qty
FROM bids GROUP BY size, 4 HAVING bool_and(open) AND min(price) > 0;
SELECT count(*), sum(qty), sum(qty) / count(qty), avg(qty) FROM bids;
