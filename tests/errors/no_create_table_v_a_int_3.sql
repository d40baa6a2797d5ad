CREATE TABLE v (a INT DEFAULT 3) WITH ('connector'='blackhole');
