SELECT a /*+ ID('x') */ FROM t;
SELECT /*+ BROADCAST(t) */ a FROM t;
SELECT /*+ ID('a') */ /*+ ID('b') */ a FROM t;
SELECT /*+ STATE_FROM('old') */ a FROM t;
/*+ nobody reads this */
SELECT /*+ ID() */ a FROM t;
SELECT a FROM t /*+ OPTIONS('scan.startup.mode' = 'earliest') */;
