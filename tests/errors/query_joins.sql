SELECT * FROM a LEFT JOIN b ON a.id = b.id;
SELECT * FROM a RIGHT OUTER JOIN b ON a.id = b.id FULL JOIN c ON a.id = c.id;
SELECT * FROM a CROSS JOIN b;
SELECT * FROM a NATURAL JOIN b;
SELECT * FROM a JOIN b;
SELECT * FROM a LEFT SEMI JOIN b ON a.id = b.id;
SELECT * FROM a ANTI JOIN b ON a.id = b.id;
SELECT * FROM (a JOIN b ON a.id = b.id) JOIN c ON a.id = c.id;
SELECT * FROM a JOIN LATERAL (SELECT * FROM b) AS x ON a.id = x.id;
