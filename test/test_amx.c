/* test_amx.c - every test of test_matmul.c with the AMX unit in software (amx_unit.h), wherever there
 * is AVX512-BF16; of the tiles AMX's alone, in bf16, since test_matmul has had the others. */
#include "amx_unit.h"
#define TRIED_TILE "amx"
#include "test_matmul.c"
