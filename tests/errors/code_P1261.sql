CREATE TABLE orders (currency STRING, amount INT) WITH ('connector' = 'filesystem', 'path' = 'orders', 'format' = 'json');
CREATE TABLE rates (currency STRING, rate INT) WITH ('connector' = 'filesystem', 'path' = 'rates', 'format' = 'json', 'mode' = 'continuous');
SELECT t.currency, r.rate
FROM (SELECT currency, sum(amount) AS total FROM orders GROUP BY currency) AS t
JOIN rates FOR SYSTEM_TIME AS OF PROCTIME() AS r ON t.currency = r.currency;
