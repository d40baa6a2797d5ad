UNPIVOT t ON id, price INTO NAME n VALUE v;
