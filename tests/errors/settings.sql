SET 'checkpoint.intervall' = '10 s';
SET 'checkpoint.interval' = 'often';
SET 'parallelism' = '0';
SET 'state.memory' = '64 KB';
SET 'state.backend' = 'roksdb';
SET 'row.error' = 'dead-letter:bad_rows';
SET 'time.zone' = 'Mars/Olympus';
SET 'checkpoint.mode' = 'twice';
SET parallelism;
SET table.exec.state.ttl = '1 d';
SET 'job.name' = '';
SET
