SELECT round(price * (1 + tax, 2) FROM bid
WHERE auction IN (1, 2;

SELECT a) FROM t;
