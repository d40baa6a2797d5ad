CREATE TABLE bids (id BIGINT) WITH ('connector' = 'datagen');
CREATE MATERIALIZED VIEW twice AS SELECT id, id FROM bids;
