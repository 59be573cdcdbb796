/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The `manifest`: a JSON object, the commit record of a checkpoint. It is written last; without it
 * there is no checkpoint. Its member "digest" is the BLAKE3 digest of the rest in canonical
 * form (compact, keys sorted), so that a flipped bit anywhere in it is found. Pure: no I/O.
 */
#ifndef FREM_FORMAT_MANIFEST_H
#define FREM_FORMAT_MANIFEST_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/cleanup.h"
#include "base/digest.h"
#include "base/error.h"
#include "format/name.h"

#define MANIFEST_VERSION 2
#define MANIFEST_MAX (8u << 20) /* of bytes; enough for MANIFEST_TASKS tasks */
#define MANIFEST_TASKS 65536u

struct manifest_object {
	uint64_t size;
	uint8_t digest[DIGEST_SIZE];
};

struct manifest_task {
	int32_t pid; /* as the task sees itself */
	int32_t ppid;
	char comm[17]; /* manifest_encode() writes '?' for what is not printable UTF-8 */
	uint32_t threads;
	uint64_t lazy_pages;
};

/* How the program's TCP connections were saved, and so have to be restored. */
enum manifest_tcp {
	MANIFEST_TCP_CLOSE,
	MANIFEST_TCP_ESTABLISHED,
};

struct manifest {
	struct checkpoint_name id;
	int64_t created; /* seconds since 1970 */
	char frem_version[32];
	char criu_version[32];
	char kernel[128];
	char arch[32];
	enum manifest_tcp tcp;
	uint64_t image_bytes; /* of memory: (lazy_pages + eager_pages) * PAGE_BYTES */
	uint64_t lazy_pages;
	uint64_t eager_pages;
	struct manifest_object head;
	struct manifest_object pages;
	struct manifest_task *tasks; /* the root first */
	size_t n_tasks;
};

void manifest_free(struct manifest *m);
/*
 * Appends the bytes of the manifest, ending in a newline. A manifest that could not be read back
 * (sums that do not add up, text that is not plain UTF-8) is refused with FREM_FAILED.
 */
int manifest_encode(const struct manifest *m, struct buffer *out, struct frem_error *err);
/* The manifest as a new JSON object without its "digest"; NULL without memory. */
json_t *manifest_to_json(const struct manifest *m);
/*
 * Parses and checks n bytes; `want` is the checkpoint it was read as, and must be the one it names.
 * Error: FREM_DAMAGED "manifest: ...". *ret is untouched on failure.
 */
int manifest_decode(const void *data, size_t n, const struct checkpoint_name *want,
		    struct manifest **ret, struct frem_error *err);
/* The digest that binds a touch object to its manifest: of the manifest's bytes as stored. */
void manifest_digest(const void *data, size_t n, uint8_t out[DIGEST_SIZE]);

FREM_CLEANUP(struct manifest *, cleanup_manifest, manifest_free)
#define _cleanup_manifest_ _cleanup_(cleanup_manifest)

#endif
