-- report
SELECT customer, sum(price) FROM orders GROUP BY customer;
-- everything
SELECT count(*), sum(total) FROM (SELECT sum(price) AS total FROM orders GROUP BY customer) AS t;
