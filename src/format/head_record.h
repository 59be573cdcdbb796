/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The records in a head object's body. docs/format.md is the spec. */
#ifndef FREM_FORMAT_HEAD_RECORD_H
#define FREM_FORMAT_HEAD_RECORD_H

#define HEAD_RECORD_SIZE 20u /* then the name, then the payload */
#define HEAD_LEVEL 3	     /* zstd's; the head is small and every restart waits for it */

/* Places in a record. */
#define AT_TYPE 0     /* u8 */
#define AT_NAME_LEN 1 /* u8 */
#define AT_ZERO 2     /* u16 */
#define AT_VALUE 4    /* u64: size of a sparse file, offset of a run, number of records */
#define AT_LENGTH 12  /* u64: bytes of payload */

enum head_record {
	HEAD_FILE = 1,
	HEAD_SPARSE = 2,
	HEAD_RUN = 3,
	HEAD_INDEX = 4,
	HEAD_END = 5,
};

#endif
