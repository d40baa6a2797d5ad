SELECT "price FROM t
