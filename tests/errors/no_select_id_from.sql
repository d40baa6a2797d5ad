SELECT id FROM 'f.csv';
