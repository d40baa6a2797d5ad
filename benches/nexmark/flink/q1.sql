SELECT auction, bidder, CAST(price AS DOUBLE) * 0.908 AS price, date_time, extra
FROM bid
