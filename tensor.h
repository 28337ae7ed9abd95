/* tensor.h - what the layers and their matrix product share: the type of a number, and how rows are
 * cut. */
#ifndef TENSOR_H
#define TENSOR_H
#include "blocks.h"
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
    int fresh;                                  // yes: the gradient is written, not added to
} RowBlocks;

/* A matrix that is not trained may stay narrow, in the formats of its file: rows of one format after
 * rows of another (queries, keys and values are one matrix here, and may be three there).  The
 * layers widen what they read of it.  A part without rows is none; without parts there is no such
 * matrix. */
enum { MAX_NARROW_PARTS = 3 };
typedef struct {
    struct {
        int rows;
        Dtype dtype;
        unsigned char *bytes;                   // of its rows, one after the other
    } part[MAX_NARROW_PARTS];
} Narrow;

static inline int round_up(int n, int to) { return (n + to - 1) / to * to; }
#endif
