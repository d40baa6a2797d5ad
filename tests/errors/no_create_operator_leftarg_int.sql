CREATE OPERATOR + (leftarg = int);
