CREATE TABLE v (a INT PRIMARY KEY) WITH ('connector'='blackhole');
