/* golden_vectors.c - prints commands/golden_vectors.h, from a machine that keeps the contract.
 *
 *     cc -O2 scripts/golden_vectors.c -o golden_vectors -lm
 *     MORE_ISA=scalar ./golden_vectors > new.h && mv new.h commands/golden_vectors.h
 *
 * After a part was added to commands/vectors.c, a line {0} for it makes the old file compile. */
#include "../commands/check.c"

int main(void) {
    if (kernels_init(getenv("MORE_ISA")) < 0) return 1;
    printf("// golden_vectors.h - the digest of each row of vectors.c and four of its words, and\n"
           "// losses; printed by scripts/golden_vectors.c.\nstatic const Golden golden[] = {\n");
    for (int i = 0; i < NUM_VECTORS; i++) {
        Kit k;
        if (kit_make(&k, &vectors[i]) < 0) return 1;
        printf("    {0x%08lx, {", (unsigned long)row_digest(&k));
        for (int j = 0; j < KNOWN; j++) {
            const uint32_t word = row_word(&k, known_place(row_length(&k), j));
            printf("0x%08lx%s", (unsigned long)word, j < KNOWN - 1 ? ", " : "}},");
        }
        printf("  // %s\n", vectors[i].name);
        kit_free(&k);
    }
    printf("};\n\n// of a small language model and a small reward model\n");
    printf("static const double golden_losses[NUM_TRAJECTORIES][TRAJECTORY] = {\n");
    for (int i = 0; i < NUM_TRAJECTORIES; i++) {
        double loss[TRAJECTORY];
        if (trajectory(loss, i) < 0) return 1;
        printf("    {");
        for (int s = 0; s < TRAJECTORY; s++) {
            printf("%s%a,", s % 4 == 0 ? "\n     " : " ", loss[s]);
        }
        printf("\n    },\n");
    }
    printf("};\n");
    return 0;
}
