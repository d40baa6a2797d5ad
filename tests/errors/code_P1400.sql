CREATE TABLE bid (auction BIGINT, price BIGINT) WITH ('connector' = 'datagen');
SELECT auction, lag(price, auction) OVER (ORDER BY auction) AS before FROM bid;
