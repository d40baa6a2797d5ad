CREATE TABLE a (k INT, v INT) WITH ('connector' = 'filesystem', 'path' = 'a', 'format' = 'json');
CREATE TABLE b (k INT, w INT) WITH ('connector' = 'filesystem', 'path' = 'b', 'format' = 'json');
SELECT a.k, s.w FROM a, LATERAL (SELECT b.w FROM b WHERE b.k > a.k ORDER BY b.w LIMIT 3) AS s;
SELECT a.k, s.w FROM a, LATERAL (WITH c AS (SELECT b.w FROM b WHERE b.k = a.k) SELECT w FROM c) AS s;
SELECT a.k, s.w FROM a, LATERAL (SELECT b.w FROM b WHERE b.k = a.k UNION SELECT a.v) AS s;
SELECT a.k, s.w FROM a LEFT JOIN LATERAL (SELECT b.w FROM b WHERE b.k = a.k) AS s ON s.w > 3;
SELECT a.k, s.w FROM a, LATERAL (SELECT b.w FROM b WHERE b.k = a.k ORDER BY b.w + a.v LIMIT 3) AS s;
SELECT a.k, s.w FROM a, LATERAL (SELECT sum(b.w + a.v) AS w FROM b WHERE b.k = a.k) AS s;
