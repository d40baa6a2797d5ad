CREATE TABLE bid (auction BIGINT, price BIGINT, ts TIMESTAMP(3)) WITH ('connector' = 'datagen');
SELECT auction, sum(price) OVER (ORDER BY ts RANGE BETWEEN INTERVAL '1' MONTH PRECEDING AND CURRENT ROW) AS s FROM bid;
