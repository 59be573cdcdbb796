/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names, checkpoints and keys: what is taken must come back the same. */
#include "format/name.h"
#include "fuzz.h"

static void parse(const char *text)
{
	struct checkpoint_name n, again;
	char shown[NAME_MAX_BYTES + 16];
	struct frem_error err = {0};

	if (name_parse(text, &n, &err) < 0) {
		FUZZ_ASSERT(err.code == FREM_USAGE);
		for (const char *c = err.text; *c; c++)
			FUZZ_ASSERT((unsigned char)*c >= ' ' && *c != 0x7f);
		return;
	}
	FUZZ_ASSERT(name_check(n.name, NULL) == 0);
	FUZZ_ASSERT(!strpbrk(n.name, "/@\n\033") && n.name[0] != '.' && n.name[0] != '-');
	if (n.seq)
		snprintf(shown, sizeof(shown), "%s@%u", n.name, n.seq);
	else
		snprintf(shown, sizeof(shown), "%s", n.name);
	FUZZ_ASSERT(strcmp(shown, text) == 0);
	FUZZ_ASSERT(name_parse(shown, &again, NULL) == 0 && again.seq == n.seq);
}

static void split(const char *key)
{
	struct checkpoint_name n;
	char again[NAME_KEY_SIZE];
	const char *object;

	if (name_split_key(key, &n, &object) < 0)
		return;
	FUZZ_ASSERT(n.seq > 0 && name_check(n.name, NULL) == 0);
	name_key(&n, object, again);
	FUZZ_ASSERT(strcmp(again, key) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	char *text = malloc(n + 1);

	FUZZ_ASSERT(text);
	if (n)
		memcpy(text, data, n);
	text[n] = '\0';
	parse(text);
	split(text);
	free(text);
	return 0;
}
