/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs a fuzz target over the files of its corpus directory, as an ordinary test in every build. */
#include <dirent.h>
#include <fcntl.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "fuzz.h"

#define INPUT_MAX (1u << 20)

static int replay(DIR *dir, const char *name)
{
	_cleanup_buffer_ struct buffer b = {0};
	uint8_t *exact;

	if (file_read_at(dirfd(dir), name, INPUT_MAX, &b) < 0) {
		perror(name);
		return -1;
	}
	exact = malloc(b.len ? b.len : 1); /* so that a read behind the input is seen */
	if (!exact)
		return -1;
	if (b.len)
		memcpy(exact, b.data, b.len);
	LLVMFuzzerTestOneInput(exact, b.len);
	free(exact);
	return 0;
}

int main(int argc, char **argv)
{
	_cleanup_closedir_ DIR *dir = NULL;
	struct dirent *e;
	size_t inputs = 0;

	if (argc != 2) {
		fprintf(stderr, "usage: %s CORPUS\n", argv[0]);
		return 2;
	}
	dir = opendir(argv[1]);
	if (!dir) {
		perror(argv[1]);
		return 1;
	}
	while ((e = readdir(dir))) {
		if (e->d_name[0] == '.')
			continue;
		if (replay(dir, e->d_name) < 0)
			return 1;
		inputs++;
	}
	printf("%s: %zu inputs\n", argv[1], inputs);
	return inputs ? 0 : 1;
}
