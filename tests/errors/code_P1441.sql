CREATE TABLE orders (id BIGINT, customer BIGINT) WITH ('connector' = 'datagen');
SELECT id, customer FROM orders
QUALIFY ROW_NUMBER() OVER (PARTITION BY customer ORDER BY PROCTIME() DESC) <= 2;
