SELECT auction, price, FROM bid;
SELECT count(*) FROM bid WHERE price > 10
