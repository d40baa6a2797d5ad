-- q8, new and already selling: persons who registered and opened an auction within the same ten seconds.
--
-- Two streams joined window by window: when a window has passed nothing of it is remembered.
CREATE TABLE person (
  id            BIGINT,
  name          STRING,
  email_address STRING,
  credit_card   STRING,
  city          STRING,
  state         STRING,
  date_time     TIMESTAMP(3),
  extra         STRING,
  WATERMARK FOR date_time AS date_time - INTERVAL '4' SECOND
) WITH ('connector' = 'nexmark', 'table' = 'person', 'events' = '10000', 'event.gap' = '100ms', 'first.event.time' = '2024-12-31 23:50:00');

CREATE TABLE auction (
  id          BIGINT,
  item_name   STRING,
  description STRING,
  initial_bid BIGINT,
  reserve     BIGINT,
  date_time   TIMESTAMP(3),
  expires     TIMESTAMP(3),
  seller      BIGINT,
  category    BIGINT,
  extra       STRING,
  WATERMARK FOR date_time AS date_time - INTERVAL '4' SECOND
) WITH ('connector' = 'nexmark', 'table' = 'auction', 'events' = '10000', 'event.gap' = '100ms', 'first.event.time' = '2024-12-31 23:50:00');

WITH registered AS (
  SELECT id, name, window_start, window_end
  FROM TUMBLE(person, date_time, INTERVAL '10' SECOND)
  GROUP BY window_start, window_end, id, name
),
opened AS (
  SELECT seller, count(*) AS auctions, window_start, window_end
  FROM TUMBLE(auction, date_time, INTERVAL '10' SECOND)
  GROUP BY window_start, window_end, seller
)
SELECT r.id, r.name, r.window_start, o.auctions
FROM registered AS r
JOIN opened AS o ON r.id = o.seller AND r.window_start = o.window_start AND r.window_end = o.window_end;
