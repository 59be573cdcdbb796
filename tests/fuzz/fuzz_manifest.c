/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The manifest, as it is and with its digest made to match. What is taken encodes again. */
#include "format/manifest.h"
#include "fuzz.h"
#include "sample.h"

static void read_manifest(const void *data, size_t n)
{
	static const struct checkpoint_name id = {SAMPLE_NAME, SAMPLE_SEQ};
	_cleanup_manifest_ struct manifest *m = NULL, *again = NULL;
	_cleanup_buffer_ struct buffer out = {0};
	struct frem_error err = {0};

	if (manifest_decode(data, n, &id, &m, &err) < 0) {
		fuzz_refused(&err, "manifest: ");
		return;
	}
	FUZZ_ASSERT(m->n_tasks >= 1 && m->n_tasks <= MANIFEST_TASKS);
	FUZZ_ASSERT(manifest_encode(m, &out, &err) == 0);
	FUZZ_ASSERT(manifest_decode(out.data, out.len, &id, &again, &err) == 0);
	FUZZ_ASSERT(memcmp(again->tasks, m->tasks, m->n_tasks * sizeof(*m->tasks)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	_cleanup_buffer_ struct buffer resigned = {0};

	read_manifest(data, n);
	if (sample_resign_manifest(data, n, &resigned) == 0)
		read_manifest(resigned.data, resigned.len);
	return 0;
}
