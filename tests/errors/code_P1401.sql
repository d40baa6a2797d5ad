CREATE TABLE bid (auction BIGINT, price BIGINT) WITH ('connector' = 'datagen');
SELECT auction, sum(price) OVER (ORDER BY auction ROWS BETWEEN CURRENT ROW AND 2 PRECEDING) AS s FROM bid;
