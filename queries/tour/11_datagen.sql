-- datagen makes rows out of nothing: the same ones every time for the same seed, at a rate or as fast as the machine goes.
--
-- Good for trying things, for tests and for measuring. Without 'rows' it never ends.
CREATE TABLE clicks (
  id      BIGINT,
  user_id INT,
  at      TIMESTAMP(3),
  WATERMARK FOR at AS at - INTERVAL '1' SECOND
) WITH (
  'connector' = 'datagen',
  'rows' = '100000',
  'seed' = '7'
);

SELECT count(*) AS clicks, count(user_id) AS with_user, min(id) AS first_id, max(id) AS last_id
FROM clicks;
