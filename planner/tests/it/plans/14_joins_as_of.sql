-- Each row with the last one that is not later: what stands in ON is judged before the match, what stands in WHERE after it.
CREATE TABLE trades (symbol STRING, amount INT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)
WITH ('connector' = 'filesystem', 'path' = 'trades', 'format' = 'json');
CREATE TABLE quotes (symbol STRING, price INT, at TIMESTAMP(3), WATERMARK FOR at AS at - INTERVAL '5' SECOND, PRIMARY KEY (symbol) NOT ENFORCED)
WITH ('connector' = 'filesystem', 'path' = 'quotes', 'format' = 'json');
SELECT t.symbol, t.amount * q.price AS worth FROM trades AS t ASOF JOIN quotes AS q
MATCH_CONDITION (q.at < t.ts) ON t.symbol = q.symbol AND q.price > 0 WHERE q.price < 100;
SELECT window_end, sum(worth) FROM TUMBLE((
  SELECT t.ts, t.amount * q.price AS worth FROM trades AS t JOIN quotes FOR SYSTEM_TIME AS OF t.ts AS q ON t.symbol = q.symbol
), ts, INTERVAL '1' HOUR) GROUP BY window_end;
