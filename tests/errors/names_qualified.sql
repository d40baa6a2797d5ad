CREATE TABLE db.t (a INT);
CREATE VIEW a.b.c AS SELECT 1;
SELECT * FROM db.t;
SELECT * FROM TUMBLE(db.bid, ts, INTERVAL '1' HOUR);
SELECT pg_catalog.now();
