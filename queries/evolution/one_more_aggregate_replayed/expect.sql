-- report
SELECT customer, sum(price), count(*) FROM orders GROUP BY customer;
