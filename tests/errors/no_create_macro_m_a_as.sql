CREATE MACRO m(a) AS a + 1;
