/* verify.c - more verify: does a training come to what its receipt says (../receipt.c)?
 *
 *     weights      those beside the receipt have the SHA-256 that it says
 *     diary        each line follows from the one before, and the last is that of the receipt
 *     recipe       options, data, tokenizer and start, when the command of the receipt has read
 *                  them, are those of the receipt
 *     replay       the training, into a folder that is removed: each line of the diary as it comes,
 *                  and in the end the weights
 *
 * The first thing that is otherwise is named, and the exit code is 1.  The command is run in this
 * process, as main runs one; options of files that more verify is given replace those of it.     */
#ifndef VERIFY_C
#define VERIFY_C
#include "diff.c"
#include "options.c"

// A receipt, and what is done with it.
typedef struct {
    char path[PATH_SIZE], dir[PATH_SIZE];           // of the receipt; the folder that it is in
    char replay[PATH_SIZE], state[PATH_SIZE];       // where is trained; what from, or ""
    int is_kept;                                    // yes: --out, which stays
    Json json, own;                                 // the receipt; the words of this command line
    Expected expected;
    const char **word;                              // (num_words) of the command to run
    int num_words;
} Verify;

int  verify_open(Verify *v, const Command *own);
void verify_settle(Verify *v);                      // after options_parse of v->word
int  verify_result(const Verify *v, int status);
void verify_close(Verify *v);

// ------------------------------------------------------------------------- what is there already

// The weights beside the receipt.  0, or -1 after fail().
static int check_weights(const Verify *v) {
    const Json *j = &v->json;
    const int weights = json_get(j, 0, "weights");
    char path[PATH_SIZE], sha256[65];
    int there = 0;
    for (int i = json_first(j, weights); i >= 0; i = json_next(j, i)) {
        if (!is_there(v->dir, json_key(j, i))) continue;
        if (path_join(path, v->dir, json_key(j, i)) < 0 || sha256_file(sha256, path) < 0) return -1;
        there++;
        if (!strcmp(sha256, json_string(j, i))) continue;
        return fail(EX_DIFFERS, "%s: not the weights of the receipt: their SHA-256 is %s, and %s "
                    "there", path, sha256, json_string(j, i));
    }
    if (there < json_count(j, weights)) {
        printf("%s: its weights are not all beside it: these are not compared\n", v->path);
    } else {
        printf("%s: the weights beside it are its own\n", v->path);
    }
    return 0;
}

// The diary beside the receipt, to v->expected.  0, or -1 after fail().
static int check_diary(Verify *v) {
    const Json *j = &v->json;
    const int diary = json_get(j, 0, "diary"), said = json_get(j, diary, "hash");
    char path[PATH_SIZE], hash[HASH_TEXT];
    size_t kept;
    if (said < 0) return 0;
    if (!is_there(v->dir, DIARY_NAME)) {
        printf("%s: its diary is not beside it: a replay compares what it ends with\n", v->path);
        return 0;
    }
    if (path_join(path, v->dir, DIARY_NAME) < 0) return -1;
    diary_begin(hash, v->expected.recipe.data);
    if (diary_read(&v->expected.diary, &kept, hash, path, INT_MAX) < 0) return -1;
    if (!json_equal(j, said, hash)) {
        return fail(EX_DIFFERS, "%s: not the diary of the receipt: its last hash is %s, and %s "
                    "there", path, hash, json_string(j, said));
    }
    v->expected.at = v->expected.diary.data;
    printf("%s: the diary beside it is its own\n", v->path);
    return 0;
}

// --------------------------------------------------------------------------------- what is to run

// Does a word of this command line stand for --NAME=.. of the receipt's?
static int is_replaced(const Verify *v, const char *word) {
    const size_t n = strcspn(word, "=");
    if (strncmp(word, "--", 2)) return 0;
    for (int i = json_first(&v->own, 0); i >= 0; i = json_next(&v->own, i)) {
        const char *own = json_string(&v->own, i);
        if (strcspn(own, "=") == n && !strncmp(own, word, n)) return 1;
    }
    return 0;
}

// v->word: the receipt's command with what this command line says otherwise.  0, or -1 after
// fail().
static int choose_words(Verify *v, const Command *own) {
    const Json *j = &v->json;
    const int command = json_get(j, 0, "command");
    Buffer text = {0};
    int result = options_words(&text, own);
    if (result == 0) result = json_parse(&v->own, text.data, text.len, "the command line");
    buffer_free(&text);
    if (result < 0) return -1;
    const int most = json_count(j, command) + json_count(&v->own, 0);
    v->word = allocate((size_t)most + 1, sizeof *v->word);
    if (!v->word) return -1;
    v->word[v->num_words++] = "more";
    for (int i = json_first(j, command); i >= 0; i = json_next(j, i)) {
        if (!is_replaced(v, json_string(j, i))) v->word[v->num_words++] = json_string(j, i);
    }
    for (int i = json_next(&v->own, json_first(&v->own, 0)); i >= 0; i = json_next(&v->own, i)) {
        v->word[v->num_words++] = json_string(&v->own, i);
    }
    return 0;
}

// --steps A..B: the state to go on from, and where it is enough.  0, or -1 after fail().
static int choose_steps(Verify *v) {
    int first, last, used = 0;
    if (!opt.steps) return 0;
    if (sscanf(opt.steps, "%d..%d%n", &first, &last, &used) != 2 || opt.steps[used] || first < 1
        || last < first) {
        return fail(EX_USAGE, "--steps %s: A..B is needed, as 100..120", opt.steps);
    }
    if (!v->expected.at) {
        return fail(EX_USAGE, "--steps: single steps are compared with the diary, which is not "
                    "there: train with --diary");
    }
    v->expected.last = last;
    if (state_find(v->state, v->dir, first) < 0) *v->state = 0;
    if (*v->state) printf("%s: the replay begins with %s\n", v->path, v->state);
    return 0;
}

// The folder to train in: --out, or one that is removed.  0, or -1 after fail().
static int choose_folder(Verify *v) {
    const char *said = getenv("TMPDIR"), *temporary = said && *said ? said : "/tmp";
    v->is_kept = opt.out != NULL;
    if (v->is_kept && strlen(opt.out) < PATH_SIZE) {
        strcpy(v->replay, opt.out);
        return 0;
    }
    if (path_join(v->replay, temporary, "more-verify-XXXXXX") < 0) return -1;
    if (mkdtemp(v->replay)) return 0;
    const int reason = errno;
    char path[PATH_SIZE];
    strcpy(path, v->replay);
    *v->replay = 0;
    return fail(EX_CANTCREAT, "%s: %s; --out FOLDER is another place", path, strerror(reason));
}

// -------------------------------------------------------------------------------------- the parts

// The path of the receipt that is meant, and its folder.  0, or -1 after fail().
static int find_receipt(Verify *v) {
    if (opt.paths.n != 1) {
        return fail(EX_USAGE, "one receipt, or its folder, is needed: more verify FOLDER");
    }
    const char *path = opt.paths.item[0], *slash = strrchr(path, '/');
    struct stat st;
    if (strlen(path) >= PATH_SIZE) return fail(EX_USAGE, "%.100s...: the path is too long", path);
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        strcpy(v->dir, path);
        return path_join(v->path, path, RECEIPT_NAME);
    }
    strcpy(v->path, path);
    snprintf(v->dir, PATH_SIZE, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
    return 0;
}

/* Reads the receipt that the command line names, compares what is beside it, and sets v->word to
 * the command to run.  0, or -1 after fail(); verify_close follows either.                       */
int verify_open(Verify *v, const Command *own) {
    if (find_receipt(v) < 0 || receipt_open(&v->json, v->path) < 0) return -1;
    const char *numerics = json_string(&v->json, json_get(&v->json, 0, "numerics"));
    if (strcmp(numerics, opt.program.numerics)) {
        return fail(EX_DIFFERS, "%s: its numbers are those of %s, this program's those of %s",
                    v->path, numerics, opt.program.numerics);
    }
    v->expected.path = v->path;
    v->expected.only_compare = opt.no_replay;
    if (receipt_recipe(&v->expected.recipe, &v->json) < 0) return -1;
    if (check_weights(v) < 0 || check_diary(v) < 0) return -1;
    if (choose_words(v, own) < 0 || choose_steps(v) < 0) return -1;
    return choose_folder(v);
}

// The settings are those of v->word: what is otherwise in a replay.  A receipt may come from a
// stranger: all that is written is in v->replay.
void verify_settle(Verify *v) {
    const int diary = json_get(&v->json, 0, "diary");
    opt.expected = &v->expected;
    opt.out = v->replay;
    options_give("out");
    opt.reference_cache = NULL;
    if (diary >= 0) {
        opt.diary = (int)json_number(&v->json, json_get(&v->json, diary, "every"));
        options_give("diary");
    }
    if (!opt.load_best) opt.eval.n = 0;
    if (!v->is_kept) {
        opt.resume = "no";
        opt.save_steps = 0;
        opt.save_minutes = 0;
    }
    if (*v->state) opt.resume = v->state;
}

// What the replay has come to.  0, or -1 after fail().
static int compare_replay(const Verify *v) {
    char path[PATH_SIZE];
    Json json = {0};
    int result = path_join(path, v->replay, RECEIPT_NAME);
    if (result == 0) result = receipt_open(&json, path);
    if (result == 0) result = diff_receipts(&v->json, &json, v->path);
    json_free(&json);
    if (result < 0) return -1;
    const int weights = json_get(&v->json, 0, "weights");
    if (result == 0) {
        printf("%s: trained again, to the same weights\n", v->path);
        return 0;
    }
    if (is_there(v->dir, json_key(&v->json, json_first(&v->json, weights)))) {
        if (diff_folders(v->dir, v->replay) < 0) return -1;
    }
    return fail(EX_DIFFERS, "%s: trained again, to other weights%s", v->path,
                v->expected.at ? "" : "; a training with --diary knows from which step on");
}

// After the command has run and returned `status`.  0, or -1 after fail().
int verify_result(const Verify *v, int status) {
    if (status < 0) return -1;
    if (status == EXPECT_ENOUGH) {
        printf("%s: recipe, data, tokenizer and start are its own\n", v->path);
        return 0;
    }
    if (!v->expected.last) return compare_replay(v);
    printf("%s: trained again, to the same steps as far as step %d\n", v->path, v->expected.last);
    return 0;
}

void verify_close(Verify *v) {
    opt.expected = NULL;
    if (*v->replay && !v->is_kept) folder_remove(v->replay);
    json_free(&v->json);
    json_free(&v->own);
    buffer_free(&v->expected.recipe);
    buffer_free(&v->expected.diary);
    free(v->word);
}
#endif
