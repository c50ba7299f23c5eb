int isastream(int);
