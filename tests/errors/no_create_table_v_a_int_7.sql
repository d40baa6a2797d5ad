CREATE TABLE v (a INT GENERATED ALWAYS AS (1) STORED) WITH ('connector'='blackhole');
