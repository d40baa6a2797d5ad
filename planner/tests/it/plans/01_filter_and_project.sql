-- A filter is pushed into the source with its one reader; a computed column is the source's; comparisons with literals
-- stay at the column's type.
CREATE TABLE bids (item STRING, Price DECIMAL(10, 2), qty INT, amount AS price * qty)
WITH ('connector' = 'filesystem', 'path' = 'bids', 'format' = 'json');
SELECT upper(item) AS item, amount, CASE WHEN qty BETWEEN 1 AND 5 THEN 'few' ELSE 'many' END
FROM bids WHERE qty > 10 AND item LIKE 'a%' AND qty IN (1, 2, 3);
