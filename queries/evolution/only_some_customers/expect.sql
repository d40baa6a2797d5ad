-- report
SELECT customer, sum(price) FROM orders WHERE customer <> 'Ada' GROUP BY customer;
