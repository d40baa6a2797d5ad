-- Paths: a view, a CTE in it, a derived table in the CTE; a view and a CTE that are read twice are one operator; a hint
-- names a block; what still repeats is counted, with a warning.
CREATE TABLE bids (item STRING, price DOUBLE, qty INT) WITH ('connector' = 'filesystem', 'path' = 'bids', 'format' = 'json');
CREATE TABLE "Out.1" (item STRING, n BIGINT) WITH ('connector' = 'blackhole');
CREATE VIEW top_sellers AS
WITH recent AS (SELECT item, sum(total) AS total FROM (SELECT item, qty, sum(price) AS total FROM bids GROUP BY item, qty) AS x GROUP BY item)
SELECT l.item, l.total FROM recent AS l JOIN recent AS r ON l.item = r.item;
INSERT INTO "Out.1" SELECT item, count(*) FROM top_sellers GROUP BY item;
INSERT /*+ ID('second') */ INTO "Out.1" SELECT item, count(*) FROM top_sellers GROUP BY item;
SELECT /*+ ID('named') */ item, count(*) FROM bids GROUP BY item
UNION ALL SELECT item, sum(qty) FROM bids GROUP BY item
UNION ALL SELECT item, max(qty) FROM bids GROUP BY item;
EXPLAIN SELECT item, count(*) FROM bids GROUP BY item;
