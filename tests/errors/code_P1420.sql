CREATE TABLE orders (currency STRING, amount INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = 'orders', 'format' = 'json');
CREATE TABLE rates (currency STRING, rate INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = 'rates', 'format' = 'json');
CREATE VIEW highest AS SELECT currency, max(rate) AS rate FROM rates GROUP BY currency;
SELECT o.amount * r.rate FROM orders AS o JOIN highest FOR SYSTEM_TIME AS OF o.ts AS r ON o.currency = r.currency;
