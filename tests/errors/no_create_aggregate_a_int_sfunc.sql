CREATE AGGREGATE a (INT) (sfunc = f, stype = int);
