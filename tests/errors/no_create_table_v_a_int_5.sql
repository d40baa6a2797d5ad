CREATE TABLE v (a INT CHECK (a > 1)) WITH ('connector'='blackhole');
