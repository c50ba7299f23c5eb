/*
 * headless.c - a process whose main thread has ended, and whose other thread goes on: /proc shows a zombie. It ends at the
 * end of its standard input.
 */
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static void *wait_for_the_end(void *unused)
{
	char byte;

	(void)unused;
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	exit(0);
}

int main(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, wait_for_the_end, NULL))
		return 1;
	pthread_exit(NULL);
}
