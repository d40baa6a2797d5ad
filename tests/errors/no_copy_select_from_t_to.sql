COPY (SELECT * FROM t) TO 'f.csv';
