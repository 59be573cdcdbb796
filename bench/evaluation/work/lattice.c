/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * lattice SIDE STEPS: flow in a cube by the lattice-Boltzmann method (19 velocities, BGK collision,
 * periodic, a body force and a sphere in its way). Every step reads and writes all of its memory,
 * which is 2 * 19 * 8 bytes a cell. Prints a line every tenth step.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define Q 19
#define OMEGA 1.7
#define FORCE 1e-5

/* The velocities; that of OPPOSITE[q] is that of q the other way round. */
static const int E[Q][3] = {{0, 0, 0},	{1, 0, 0},   {-1, 0, 0},  {0, 1, 0},   {0, -1, 0},
			    {0, 0, 1},	{0, 0, -1},  {1, 1, 0},	  {-1, -1, 0}, {1, -1, 0},
			    {-1, 1, 0}, {1, 0, 1},   {-1, 0, -1}, {1, 0, -1},  {-1, 0, 1},
			    {0, 1, 1},	{0, -1, -1}, {0, 1, -1},  {0, -1, 1}};
static const int OPPOSITE[Q] = {0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15, 18, 17};
static const double W[Q] = {1.0 / 3,  1.0 / 18, 1.0 / 18, 1.0 / 18, 1.0 / 18, 1.0 / 18, 1.0 / 18,
			    1.0 / 36, 1.0 / 36, 1.0 / 36, 1.0 / 36, 1.0 / 36, 1.0 / 36, 1.0 / 36,
			    1.0 / 36, 1.0 / 36, 1.0 / 36, 1.0 / 36, 1.0 / 36};

static long side;

static int solid(long x, long y, long z)
{
	long c = side / 2, r = side / 5;

	return (x - c) * (x - c) + (y - c) * (y - c) + (z - c) * (z - c) < r * r;
}

static size_t cell(long x, long y, long z)
{
	x = (x + side) % side;
	y = (y + side) % side;
	z = (z + side) % side;
	return (size_t)((z * side + y) * side + x) * Q;
}

/* Takes what streams in from the neighbours, and lets it collide or bounce back. */
static void update(const double *from, double *to, long x, long y, long z)
{
	double f[Q], rho = 0, u[3] = {0, 0, 0}, square;

	for (int q = 0; q < Q; q++) {
		f[q] = from[cell(x - E[q][0], y - E[q][1], z - E[q][2]) + (size_t)q];
		rho += f[q];
		for (int d = 0; d < 3; d++)
			u[d] += f[q] * E[q][d];
	}
	to += cell(x, y, z);
	if (solid(x, y, z)) {
		for (int q = 0; q < Q; q++)
			to[q] = f[OPPOSITE[q]];
		return;
	}
	for (int d = 0; d < 3; d++)
		u[d] /= rho;
	u[0] += FORCE / OMEGA;
	square = 1.5 * (u[0] * u[0] + u[1] * u[1] + u[2] * u[2]);
	for (int q = 0; q < Q; q++) {
		double eu = 3 * (E[q][0] * u[0] + E[q][1] * u[1] + E[q][2] * u[2]);

		to[q] = f[q] + OMEGA * (W[q] * rho * (1 + eu + eu * eu / 2 - square) - f[q]);
	}
}

static void step(const double *from, double *to)
{
	for (long z = 0; z < side; z++)
		for (long y = 0; y < side; y++)
			for (long x = 0; x < side; x++)
				update(from, to, x, y, z);
}

static double *grid_new(void)
{
	size_t n = (size_t)(side * side * side) * Q;
	double *f = malloc(n * sizeof(*f));

	if (!f) {
		perror("memory");
		exit(1);
	}
	for (size_t i = 0; i < n; i++)
		f[i] = W[i % Q];
	return f;
}

/* A digest of every bit (FNV), and the flow through the cube. */
static void show(const double *f, long n)
{
	size_t cells = (size_t)(side * side * side);
	uint64_t digest = UINT64_C(14695981039346656037), word;
	double flow = 0;

	for (size_t i = 0; i < cells * Q; i++) {
		memcpy(&word, &f[i], sizeof(word));
		digest = (digest ^ word) * UINT64_C(1099511628211);
		flow += f[i] * E[i % Q][0];
	}
	printf("%ld %.12e %016" PRIx64 "\n", n, flow, digest);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	double *f[2];
	long steps;

	if (argc != 3 || (side = strtol(argv[1], NULL, 10)) < 8 || side > 1000) {
		fputs("usage: lattice SIDE STEPS\n", stderr);
		return 2;
	}
	steps = strtol(argv[2], NULL, 10);
	f[0] = grid_new();
	f[1] = grid_new();
	for (long n = 1; n <= steps; n++) {
		step(f[(n + 1) % 2], f[n % 2]);
		if (n % 10 == 0)
			show(f[n % 2], n);
	}
	free(f[0]);
	free(f[1]);
	return 0;
}
