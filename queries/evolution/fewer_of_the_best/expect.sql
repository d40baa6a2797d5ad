-- best
SELECT country, id, price FROM (SELECT country, id, price, row_number() OVER (PARTITION BY country ORDER BY price DESC, id) AS n FROM orders) AS r WHERE n <= 3;
