/* test_amx.c - every test of test_matmul.c with the AMX unit in software (amx_unit.h), wherever there
 * is AVX512-BF16. */
#include "amx_unit.h"
#include "test_matmul.c"
