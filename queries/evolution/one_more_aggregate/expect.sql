-- report
SELECT customer, sum(price), count(*) FILTER (WHERE id > 100) FROM orders GROUP BY customer;
