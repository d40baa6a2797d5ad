-- A chain of joins in the order of FROM; a condition belongs to the input where it gives the same rows.
CREATE TABLE a (id INT, x DOUBLE, note STRING) WITH ('connector' = 'filesystem', 'path' = 'a', 'format' = 'json');
CREATE TABLE b (id BIGINT, y DOUBLE, cid STRING) WITH ('connector' = 'filesystem', 'path' = 'b', 'format' = 'json');
CREATE TABLE c (id STRING, z DOUBLE) WITH ('connector' = 'filesystem', 'path' = 'c', 'format' = 'json');
CREATE VIEW all_three AS
SELECT a.id, first.y + c.z AS s FROM a JOIN b AS first ON a.id = first.id AND first.y > 1, c
WHERE first.cid = upper(c.id) AND a.x > 2 AND a.x < c.z;
SELECT * FROM all_three;
SELECT s.id, t.x FROM a AS s JOIN a AS t USING (id);
