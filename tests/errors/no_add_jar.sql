ADD JAR 'x';
