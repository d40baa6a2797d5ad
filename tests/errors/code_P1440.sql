CREATE TABLE orders (id BIGINT, at TIMESTAMP_LTZ(3)) WITH ('connector' = 'datagen');
SELECT id FROM orders WHERE EXTRACT(HOUR FROM now()) < 8;
