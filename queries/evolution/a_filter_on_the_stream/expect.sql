-- report
SELECT customer, sum(price) FROM orders WHERE id <= 100 OR country <> 'XX' GROUP BY customer;
