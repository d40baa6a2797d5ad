SOURCE 'x';
