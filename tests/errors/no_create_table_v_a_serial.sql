CREATE TABLE v (a SERIAL) WITH ('connector'='blackhole');
