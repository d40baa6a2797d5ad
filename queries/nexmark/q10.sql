-- q10, everything into a log: bids as files in folders of days and minutes, output/nexmark/log/day=…/minute=…/part-….json.
CREATE TABLE bid (
  auction   BIGINT,
  bidder    BIGINT,
  price     BIGINT,
  channel   STRING,
  url       STRING,
  date_time TIMESTAMP(3),
  extra     STRING,
  WATERMARK FOR date_time AS date_time - INTERVAL '4' SECOND
) WITH ('connector' = 'nexmark', 'table' = 'bid', 'events' = '10000', 'event.gap' = '100ms', 'first.event.time' = '2024-12-31 23:50:00');

CREATE TABLE log (
  auction   BIGINT,
  bidder    BIGINT,
  price     BIGINT,
  date_time TIMESTAMP(3),
  extra     STRING,
  day       STRING,
  minute    STRING
) PARTITIONED BY (day, minute) WITH ('connector' = 'filesystem', 'path' = 'output/nexmark/log', 'format' = 'json');

INSERT INTO log
SELECT
  auction, bidder, price, date_time, extra,
  CAST(CAST(date_time AS DATE) AS STRING) AS day,
  substr(CAST(date_time AS STRING), 12, 5) AS minute
FROM bid;
