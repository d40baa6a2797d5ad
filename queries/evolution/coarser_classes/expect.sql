-- sizes
SELECT total / 250, count(*) FROM (SELECT customer, sum(price) AS total FROM orders GROUP BY customer) AS t GROUP BY total / 250;
