-- report
SELECT customer, country, sum(price) FROM orders GROUP BY customer, country;
