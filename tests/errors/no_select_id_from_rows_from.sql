SELECT id FROM ROWS FROM (generate_series(1, 2)) AS r (id);
