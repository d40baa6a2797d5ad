-- report
SELECT customer, sum(price) FROM orders GROUP BY customer;
