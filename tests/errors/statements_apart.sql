-- A mistake in one statement hides none in the others, and whoever reads what it would have declared stays silent.
CREATE TABLE orders (id BIGINT, price BIGINT,) WITH ('connector' = 'datagen');
CREATE VEIW dear AS SELECT id FROM orders;
CREATE TABLE users (id BIGINT, name STRING) WITH ('connector' = 'datagen');
SELECT id, price FROM orders WHERE price > 3;
SELECT d.id FROM dear AS d;
SELECT id, nam FROM users;
SELEC id FROM users;
SELECT id FROM user_s;
