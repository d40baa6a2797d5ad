ATTACH 'f' AS d;
