-- minutes
SELECT date_bin(INTERVAL '1 minutes', ts), country, count(*) FROM orders WHERE id <= 100 OR price > 0 GROUP BY date_bin(INTERVAL '1 minutes', ts), country;
