-- One source for two readers: the union of their columns, no filter.
CREATE TABLE bids (item STRING, price DOUBLE, qty INT) WITH ('connector' = 'filesystem', 'path' = 'bids', 'format' = 'json');
SELECT item FROM bids WHERE qty > 1;
SELECT price FROM bids WHERE qty > 2;
