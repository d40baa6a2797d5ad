-- report
SELECT customer, sum(price) FROM orders WHERE country <> 'XX' GROUP BY customer;
