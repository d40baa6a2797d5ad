SELECT auction
FORM bid
WHERE price > 10;

SELECT auction FROM bid WERE price > 10;
SELEC 1;
