-- Rows are counted by a column, though the count reads none.
CREATE TABLE a (k STRING, n INT) WITH ('connector' = 'filesystem', 'path' = 'a', 'format' = 'json', 'on.error' = 'dead-letter:bad');
CREATE TABLE bad (reason STRING, record STRING) WITH ('connector' = 'filesystem', 'path' = 'bad', 'format' = 'json');
SELECT count(*) FROM (SELECT k, n FROM a UNION ALL SELECT k, n + 1 FROM a) AS both_of_them;
-- A join of two updating results is bounded by their keys.
CREATE VIEW totals AS SELECT k, sum(n) AS total FROM a GROUP BY k;
SELECT l.k FROM totals AS l JOIN totals AS r ON l.total = r.total AND l.k < r.k;
