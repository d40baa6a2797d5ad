-- report
SELECT customer, sum(price) FROM (SELECT customer, price FROM orders WHERE id <= 100 UNION ALL SELECT customer, price FROM orders_2026) AS o GROUP BY customer;
