CREATE TABLE v (a INT, PRIMARY KEY (a)) WITH ('connector'='blackhole');
