LOAD x;
