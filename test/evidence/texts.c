/*
 * texts.c - the functions that read or write texts, for every input up to a size, compared with a second implementation
 *
 * Each text is in memory of exactly its size, for the sanitizers. Prints one line for each function, its name and the
 * number of inputs; or the first wrong result, and ends.
 *
 * texts [FUNCTION]; PROC, DESCRIPTORS and END are the sources.
 */
#define _GNU_SOURCE
#include "../../src-native/linux/linux.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What the kernel says is what the case wants. */
static long list(long number, ...);
static ssize_t take(int file, void *to, size_t size);
static off_t rewound(int file, off_t at, int whence);

#define syscall list
#define read take
#define lseek rewound
#include PROC
#include DESCRIPTORS
#undef syscall
#undef read
#undef lseek
#include END

static const char *name;
static unsigned long inputs;

static void expect(bool right, const char *text, size_t length)
{
	inputs++;
	if (right)
		return;
	printf("%s: wrong for \"%.*s\"\n", name, (int)length, text);
	exit(1);
}

/* A copy that ends where its memory ends. */
static struct text exactly(const char *text, size_t length)
{
	return (struct text){memcpy(malloc(length + !length), text, length), length};
}

static void drop(struct text text)
{
	free((void *)text.at);
}

/* Every text of at most `longest` of these characters. */
static void each_text(const char *letters, size_t longest, void (*visit)(const char *text, size_t length))
{
	size_t count = strlen(letters);

	for (size_t length = 0; length <= longest; length++) {
		unsigned long all = 1;

		for (size_t i = 0; i < length; i++)
			all *= count;
		for (unsigned long which = 0; which < all; which++) {
			char text[16];
			unsigned long rest = which;

			for (size_t i = 0; i < length; i++, rest /= count)
				text[i] = letters[rest % count];
			visit(text, length);
		}
	}
}

/* ---- numbers ---- */

static void check_append_number(unsigned number)
{
	char wanted[16];
	size_t length = (size_t)sprintf(wanted, "%u", number);

	last_line.length = 0;
	append_number(number);
	expect(last_line.length == length && !memcmp(last_line.text, wanted, length), wanted, length);
}

static void check_decimal(unsigned number)
{
	char wanted[16], found[DECIMAL_SIZE];
	size_t length = (size_t)sprintf(wanted, "%u", number);

	if (number > INT_MAX)
		return;
	decimal(found, (int)number);
	expect(!strcmp(found, wanted), wanted, length);
}

/* All that have six digits, and those around each power of two. */
static void check_numbers(void (*check)(unsigned number))
{
	for (unsigned number = 0; number < 1000000; number++)
		check(number);
	for (unsigned long power = 1; power <= UINT_MAX; power *= 2)
		for (unsigned step = 0; step < 1000; step++) {
			check((unsigned)power + step);
			check((unsigned)power - step);
		}
}

/* ---- append() ---- */

static void check_append(const char *text, size_t length)
{
	char given[17] = "", wanted[17];

	memcpy(given, text, length);
	memcpy(wanted, given, sizeof given);
	for (char *at = wanted; (at = strpbrk(at, "\1\n\37")); at++)
		*at = ' ';
	for (size_t room = 0; room < 12; room++) {
		size_t before = LINE_MAX_SIZE - 1 - room, kept = length < room ? length : room;

		last_line.length = before;
		last_line.text[LINE_MAX_SIZE - 1] = '#';
		append(given);
		expect(last_line.length == before + kept && !memcmp(last_line.text + before, wanted, kept) &&
		               last_line.text[LINE_MAX_SIZE - 1] == '#', text, length);
	}
}

/* ---- number_in() ---- */

static void check_number_in(const char *text, size_t length)
{
	char copy[17] = "", *line = copy;
	bool said = false;
	unsigned long wanted = 0;
	uint64_t found = 0;
	struct text given = exactly(text, length);

	memcpy(copy, text, length);
	for (char *last; !said && (last = strchr(line, '\n')); line = last + 1) {
		*last = '\0';
		if ((said = line[0] == 'x' && line[1] == ':')) {
			char *rest = line + 2 + strspn(line + 2, " \t");

			wanted = strtoul(strspn(rest, "07") ? rest : "", NULL, 8);
		}
	}
	expect(number_in(given, "x:", 8, &found) == said && found == wanted, text, length);
	drop(given);
}

/* ---- select_lines() ---- */

static const char *const lines_of[] = {"Uid:\t0\n", "Gid:\t0\n", "Groups:\t1 2 \n", "CapInh:\t0\n", "CapPrm:\t0\n", "CapEff:\t0\n",
	"CapBnd:\t0\n", "CapAmb:\t0\n", "NoNewPrivs:\t0\n", "Seccomp:\t0\n", "Seccomp_filters:\t0\n", "Name:\tUid:\n", "\n", "Gid:"};
enum { KINDS = sizeof lines_of / sizeof *lines_of, LONGEST = 16 };

/* Which label this line begins with; -1: none. */
static int label_of(const char *line)
{
	for (int i = 0; i < SELECTED_LINES + 2; i++)
		if (!strncmp(line, lines_of[i], strcspn(lines_of[i], ":") + 1))
			return i;
	return -1;
}

static void check_lines(const int *kinds, int count)
{
	static char text[1024], wanted[1024];
	size_t length = 0;
	struct text given;
	char *found;

	for (int i = 0; i < count; i++)
		length += (size_t)sprintf(text + length, "%s", lines_of[kinds[i]]);
	given = exactly(text, length);
	found = malloc(length + 1);
	for (int filters = 0; filters < 2; filters++) {
		int next = 0;
		size_t size = 0;

		for (char *line = text, *last; (last = strchr(line, '\n')); line = last + 1) {
			int label = label_of(line);

			if (next < SELECTED_LINES ? label != next : !filters || label < next)
				continue;
			memcpy(wanted + size, line, (size_t)(last - line) + 1);
			size += (size_t)(last - line) + 1;
			next = label + 1;
		}
		size = next < SELECTED_LINES ? 0 : size;
		expect(select_lines(given, filters, found) == size && !memcmp(found, wanted, size), text, length);
	}
	free(found);
	drop(given);
}

/* All that are so many edits from this one: a line put in, left out, put in the place of another. */
static void each_edit(const int *kinds, int count, int edits)
{
	int edited[LONGEST];

	check_lines(kinds, count);
	for (int at = 0; edits && at <= count; at++)
		for (int kind = -1; kind < KINDS; kind++)
			for (int skipped = kind < 0; skipped < 2 && at + skipped <= count; skipped++) {
				int put = kind >= 0;

				memcpy(edited, kinds, (size_t)at * sizeof *kinds);
				edited[at] = kind;
				memcpy(edited + at + put, kinds + at + skipped, (size_t)(count - at - skipped) * sizeof *kinds);
				each_edit(edited, count - skipped + put, edits - 1);
			}
}

/* ---- judge_ring() ---- */

static struct text info;

static ssize_t take(int file, void *to, size_t size)
{
	size_t length = info.length < size ? info.length : size;

	(void)file;
	memcpy(to, info.at, length);
	info.at += length;
	info.length -= length;
	return (ssize_t)length;
}

static void check_ring(const char *text, size_t count)
{
	static const char *const pieces[] = {"SqThread:\t-1\n", "SqThread:\t7\n", "Personalities:\n", "SqThread:", "\t-1", "\n",
		"pos:\t0123456789012345678901234567890123456789"};
	static const size_t before[] = {0, 1, 1011, 1018, 1023, 1024};

	for (size_t i = 0; i < sizeof before / sizeof *before; i++) {
		char whole[2048], copy[2048], *line = copy;
		size_t length = before[i];
		long wanted = NOT_SAID;
		bool refused = false;

		memset(whole, '\n', length);
		for (size_t k = 0; k < count; k++)
			length += (size_t)sprintf(whole + length, "%s", pieces[text[k] - 'a']);
		memcpy(copy, whole, length);
		copy[length] = '\0';
		for (char *last; (last = strchr(line, '\n')); line = last + 1) {
			*last = '\0';
			refused |= !strncmp(line, "Personalities:", 14);
			if (wanted == NOT_SAID && !strncmp(line, "SqThread:\t", 10))
				wanted = strncmp(line + 10, "-1", 2) ? REFUSED : NO_POLLER;
		}
		info = (struct text){whole, length};
		expect(judge_ring(-1) == (refused ? REFUSED : wanted), whole + before[i], length - before[i]);
	}
}

/* ---- each_number() ---- */

static struct text names;

/* struct linux_dirent64, getdents(2), with an entry for each name; ',' is in between. */
static long list(long number, ...)
{
	char *buffer;
	long at = 0;
	va_list arguments;

	if (number != SYS_getdents64)
		abort();
	va_start(arguments, number);
	va_arg(arguments, int);
	buffer = va_arg(arguments, char *);
	va_end(arguments);

	for (size_t from = 0; from < names.length;) {
		size_t length = 0;
		unsigned short size;

		while (from + length < names.length && names.at[from + length] != ',')
			length++;
		size = (unsigned short)((19 + length + 1 + 7) & ~7UL);
		memset(buffer + at, '9', size); /* what follows the name has no meaning */
		memcpy(buffer + at + 16, &size, sizeof size);
		memcpy(buffer + at + 19, names.at + from, length);
		buffer[at + 19 + (long)length] = '\0';
		at += size;
		from += length + 1;
	}
	names.length = 0;
	return at;
}

static off_t rewound(int file, off_t at, int whence)
{
	(void)file;
	(void)whence;
	return at;
}

static int note(int number, void *context)
{
	char *said = context;

	sprintf(said + strlen(said), "%d,", number);
	return 0;
}

static void check_listing(const char *text, size_t length)
{
	char copy[17] = "", wanted[64] = "", found[64] = "", *at = copy, *entry;

	memcpy(copy, text, length);
	while ((entry = strsep(&at, ",")))
		if (*entry >= '0' && *entry <= '9')
			sprintf(wanted + strlen(wanted), "%d,", atoi(entry));
	names = (struct text){text, length};
	expect(each_number(-1, note, found) == 0 && !strcmp(wanted, found), text, length);
}

int main(int count, char **arguments)
{
	static const int right[] = {11, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
	const char *only = count > 1 ? arguments[1] : "";

#define CHECK(function, call) \
	if (!*only || !strcmp(only, function)) { \
		name = function; \
		inputs = 0; \
		call; \
		printf("%s %lu\n", name, inputs); \
	}
	CHECK("decimal", check_numbers(check_decimal))
	CHECK("append_number", check_numbers(check_append_number))
	CHECK("append", each_text("a \1\n\37\177\377", 6, check_append))
	CHECK("number_in", each_text("x:\n\t078", 8, check_number_in))
	CHECK("judge_ring", each_text("abcdefg", 5, check_ring))
	CHECK("each_number", each_text(".019,a", 7, check_listing))
	CHECK("select_lines", each_edit(right, sizeof right / sizeof *right, 2))
	return 0;
}
