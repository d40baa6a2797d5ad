SELECT id FROM JSON_TABLE(name, '$' COLUMNS (a INT PATH '$.a')) AS j;
