CREATE TABLE trades (symbol STRING, amount INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = 'trades', 'format' = 'json');
CREATE TABLE quotes (symbol STRING, price INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
WITH ('connector' = 'filesystem', 'path' = 'quotes', 'format' = 'json');
CREATE TABLE names (symbol STRING, name STRING) WITH ('connector' = 'filesystem', 'path' = 'names', 'format' = 'json');
SELECT * FROM trades AS t ASOF JOIN quotes AS q MATCH_CONDITION (t.ts <= q.ts) ON t.symbol = q.symbol;
SELECT * FROM trades AS t ASOF JOIN quotes AS q MATCH_CONDITION (t.amount >= q.price) ON t.symbol = q.symbol;
SELECT * FROM trades AS t ASOF JOIN quotes AS q MATCH_CONDITION (t.ts >= q.ts) ON t.symbol > q.symbol;
SELECT * FROM trades AS t ASOF JOIN names AS n MATCH_CONDITION (t.ts >= n.ts) ON t.symbol = n.symbol;
SELECT * FROM trades AS t ASOF JOIN names AS n MATCH_CONDITION (t.ts >= t.ts) ON t.symbol = n.symbol;
SELECT * FROM trades AS t JOIN quotes FOR SYSTEM_TIME AS OF t.ts AS q ON t.symbol = q.symbol;
SELECT * FROM trades AS t JOIN quotes FOR SYSTEM_TIME AS OF t.amount AS q ON t.symbol = q.symbol;
SELECT * FROM quotes FOR SYSTEM_TIME AS OF TIMESTAMP '2024-01-01 00:00:00' AS q;
SELECT * FROM trades AS t ASOF JOIN (SELECT symbol, max(ts) AS ts FROM quotes GROUP BY symbol) AS q MATCH_CONDITION (t.ts >= q.ts) ON t.symbol = q.symbol;
