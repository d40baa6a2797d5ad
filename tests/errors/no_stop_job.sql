STOP JOB 'x';
