COPY t FROM 'f.csv';
