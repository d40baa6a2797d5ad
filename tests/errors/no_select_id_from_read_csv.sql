SELECT id FROM read_csv('f.csv');
