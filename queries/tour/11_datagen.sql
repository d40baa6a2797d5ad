-- datagen makes rows out of nothing: the same ones every time for the same seed, at a rate or as fast as the machine goes.
--
-- Good for trying things, for tests and for measuring. Without 'rows' it never ends; with 'rows-per-second' it takes its time. What a
-- column holds is said field by field: here ids in sequence, a hundred users, a time that runs in steps and now and then falls back.
CREATE TABLE clicks (
  id      BIGINT,
  user_id INT,
  at      TIMESTAMP(3),
  WATERMARK FOR at AS at - INTERVAL '1' SECOND
) WITH (
  'connector' = 'datagen',
  'rows' = '100000',
  'seed' = '7',
  'fields.id.kind' = 'sequence',
  'fields.user_id.max' = '99',
  'fields.at.start' = '2024-01-01 00:00:00',
  'fields.at.step' = '10ms',
  'fields.at.jitter' = '2 s'
);

SELECT window_start, count(*) AS clicks, min(id) AS first_id, max(id) AS last_id
FROM TUMBLE(clicks, at, INTERVAL '2' MINUTE)
GROUP BY window_start, window_end;
