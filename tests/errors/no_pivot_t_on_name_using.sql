PIVOT t ON name USING sum(price);
