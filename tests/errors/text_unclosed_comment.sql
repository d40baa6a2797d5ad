SELECT a FROM t;
/* what comes here
SELECT b FROM t
