SELECT * FROM orders AS o JOIN rates FOR SYSTEM_TIME AS OF o.placed AS r ON o.currency = r.currency;
SELECT * FROM rates TIMESTAMP AS OF '2020-01-01';
