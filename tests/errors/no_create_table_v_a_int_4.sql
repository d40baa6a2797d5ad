CREATE TABLE v (a INT UNIQUE) WITH ('connector'='blackhole');
