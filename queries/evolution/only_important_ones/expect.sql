-- visits
SELECT o.id, c.city FROM orders AS o JOIN customers AS c ON o.customer = c.customer WHERE c.city = 'Bern';
