/* tensor.h - what the layers and their matrix product share: the type of a number, and how rows are
 * cut. */
#ifndef TENSOR_H
#define TENSOR_H
#include "common.h"

#ifdef MORE_DOUBLE              // the layers in double, to check gradients by finite differences
typedef double real;
#else
typedef float real;
#endif

/* With bf16 operands a weight gradient sums its rows in blocks: block i of `count` holds the rows
 * start[i] .. start[i+1]-1, at most 32.  Blocks begin anew with every group, so that they do not
 * depend on the micro-batch.  NULL: 32 each, from row 0. */
typedef struct {
    const int *start;
    int count;
} RowBlocks;

static inline int round_up(int n, int to) { return (n + to - 1) / to * to; }
#endif
